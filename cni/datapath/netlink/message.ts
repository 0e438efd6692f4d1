/**
 * Encodes and decodes netlink messages (linux/netlink.h). Integers are in host order: little-endian on every supported
 * machine.
 */
export interface NetlinkMessage {
  type: number;
  flags: number;
  seq: number;
  /** The requesting socket; in a notification the one that made the change. 0 in requests: the kernel fills it in. */
  port: number;
  /** Family header and attributes. */
  payload: Buffer;
}

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
/** On replies of a dump: the list changed during reading. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

const HEADER_BYTES = 16;
const TYPE_MASK = 0x3fff;

export function encodeMessage({ type, flags, seq, port, payload }: NetlinkMessage): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES + payload.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(seq, 8);
  header.writeUInt32LE(port, 12);
  return Buffer.concat([header, payload]);
}

/** Splits one read's bytes into messages. Throws RangeError if a length does not fit. */
export function decodeMessages(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const length = bytes.length - offset < HEADER_BYTES ? 0 : bytes.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > bytes.length) {
      throw new RangeError(`damaged netlink message: length ${length} with ${bytes.length - offset} bytes left`);
    }
    messages.push({
      type: bytes.readUInt16LE(offset + 4),
      flags: bytes.readUInt16LE(offset + 6),
      seq: bytes.readUInt32LE(offset + 8),
      port: bytes.readUInt32LE(offset + 12),
      payload: bytes.subarray(offset + HEADER_BYTES, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** One attribute (`struct nlattr`), padded; `value` may be attributes again. */
export function encodeAttribute(type: number, ...value: Buffer[]): Buffer {
  const length = 4 + value.reduce((sum, part) => sum + part.length, 0);
  const bytes = Buffer.alloc(align(length));
  bytes.writeUInt16LE(length, 0);
  bytes.writeUInt16LE(type, 2);
  let offset = 4;
  for (const part of value) offset += part.copy(bytes, offset);
  return bytes;
}

/** Decodes attributes by type, the last of repeated ones. Throws RangeError if a length does not fit. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let offset = 0; offset + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(offset);
    if (length < 4 || offset + length > bytes.length) {
      throw new RangeError(`damaged netlink attribute: length ${length} with ${bytes.length - offset} bytes left`);
    }
    attributes.set(bytes.readUInt16LE(offset + 2) & TYPE_MASK, bytes.subarray(offset + 4, offset + length));
    offset += align(length);
  }
  return attributes;
}

export function encodeU32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

export function encodeText(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

export function decodeU32(bytes: Buffer | undefined): number | undefined {
  return bytes !== undefined && bytes.length >= 4 ? bytes.readUInt32LE(0) : undefined;
}

export function decodeText(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString("utf8").replace(/\0+$/, "");
}

export function encodeMac(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(":", ""), "hex");
}

export function decodeMac(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString("hex").match(/../g)?.join(":");
}

function align(length: number): number {
  return (length + 3) & ~3;
}
