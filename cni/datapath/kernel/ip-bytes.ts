import { isIPv4, isIPv6 } from "node:net";

/** Parses an IP address to the kernel's 4 or 16 bytes. Undefined if the text is not an address. */
export function parseIp(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number));
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const dotted = text.lastIndexOf(".") >= 0 ? text.slice(text.lastIndexOf(":") + 1) : undefined;
  const plain = dotted === undefined ? text : text.slice(0, -dotted.length) + hexGroups(dotted);
  const [head = "", tail] = plain.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map(group => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const bytes = Buffer.alloc(16);
  before.forEach((group, index) => {
    bytes.writeUInt16BE(group, index * 2);
  });
  after.forEach((group, index) => {
    bytes.writeUInt16BE(group, 16 - (after.length - index) * 2);
  });
  return bytes;
}

/** Parses `10.0.0.0/8`; clears host bits, as the kernel requires of a route's destination. */
export function parseCidr(text: string): { bytes: Buffer; prefixLength: number } | undefined {
  const [address = "", length = "", ...rest] = text.split("/");
  const bytes = parseIp(address);
  const prefixLength = Number(length);
  if (bytes === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length) || prefixLength > bytes.length * 8)
    return undefined;
  for (let bit = prefixLength; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) & ~(0x80 >> (bit & 7));
  }
  return { bytes, prefixLength };
}

/** Formats for messages and comparisons; IPv6 without zero compression. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length >> 1 }, (_, index) => view.getUint16(index * 2).toString(16)).join(":");
}

function hexGroups(dotted: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split(".").map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}
