/**
 * As much of protobuf's wire format as the CRI's pod sandbox calls need: varints and length-delimited fields.
 * https://protobuf.dev/programming-guides/encoding/
 */
export type Fields = { [fieldNumber: number]: string | number | Fields };

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

export function encodeMessage(fields: Fields): Buffer {
  const parts: Buffer[] = [];
  for (const [number, value] of Object.entries(fields)) {
    const tag = (type: number) => encodeVarint((Number(number) << 3) | type);
    if (typeof value === "number") {
      parts.push(tag(VARINT), encodeVarint(value));
    } else {
      const bytes = typeof value === "string" ? Buffer.from(value) : encodeMessage(value);
      parts.push(tag(LENGTH_DELIMITED), encodeVarint(bytes.length), bytes);
    }
  }
  return Buffer.concat(parts);
}

/** The last value of every length-delimited field; scalars are skipped. */
export function decodeMessage(message: Buffer): Map<number, Buffer> {
  const fields = new Map<number, Buffer>();
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new Error("the protobuf message ends within a varint");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = readVarint();
    const type = tag & 7;
    if (type === VARINT) readVarint();
    else if (type === FIXED64) at += 8;
    else if (type === FIXED32) at += 4;
    else if (type === LENGTH_DELIMITED) {
      const length = readVarint();
      fields.set(tag >> 3, message.subarray(at, at + length));
      at += length;
    } else throw new Error(`the protobuf message has a field of wire type ${type}`);
  }
  return fields;
}

function encodeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}
