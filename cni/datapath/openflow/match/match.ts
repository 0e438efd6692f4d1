import type { Reader, Writer } from "../wire.ts";
import { FIELD_NAMES, FIELDS, type Field, type FieldName, findField } from "./field.ts";
import { type AnyValue, decodeValue, encodeValue, type FieldValue, hasMask } from "./value.ts";

/** What a packet must be to meet a flow. Each field's prerequisites must be there too: `tcpDst` needs type and protocol. */
export type Match = { readonly [F in FieldName]?: FieldValue<F> };

export interface DecodedOxm {
  readonly name: FieldName;
  readonly value: AnyValue;
}

const PACKET_REGISTERS = 0x8001;
const ALL_BITS = 0xffffffff;
const OXM_MATCH = 1;
const MASKED = 1;

/** Writes the match with its header and padding (OpenFlow 1.5 section 7.2.3). */
export function encodeMatch(writer: Writer, match: Match): void {
  const start = writer.length;
  writer.uint(OXM_MATCH, 2, "match");
  writer.uint(0, 2, "match");
  for (const name of FIELD_NAMES) {
    const value = match[name];
    if (value !== undefined) encodeOxm(writer, name, value);
  }
  writer.patchLength(start + 2, start, "a match");
  writer.pad(start);
}

export function decodeMatch(reader: Reader): Match {
  const type = reader.uint(2);
  const length = reader.uint(2);
  if (type !== OXM_MATCH) throw reader.error(`a match has type ${type}, 1 (OXM) is expected`);
  const fields = reader.within(length - 4, "a match");
  reader.skipPadding(length);
  const match: { [name: string]: AnyValue } = {};
  while (fields.remaining > 0) {
    for (const { name, value } of decodeRegisters(fields) ?? [decodeOxm(fields)]) {
      if (name in match) throw fields.error(`${FIELDS[name].name} is there twice`);
      match[name] = value;
    }
  }
  return match as Match;
}

/** OVS sends two registers as one field of 64 bits (OXM_OF_PKT_REG). Undefined if something else is next. */
function decodeRegisters(reader: Reader): DecodedOxm[] | undefined {
  if (reader.remaining < 4 || reader.peek(2) !== PACKET_REGISTERS) return undefined;
  reader.skip(2);
  const bits = reader.uint(1);
  const masked = (bits & MASKED) === 1;
  const pair = bits >> 1;
  const names = [`reg${pair * 2}`, `reg${pair * 2 + 1}`] as FieldName[];
  if (reader.uint(1) !== (masked ? 16 : 8) || names.some(name => !(name in FIELDS)))
    throw reader.error(`a pair of registers, ${pair}, is damaged`);
  const values = [reader.uint(4), reader.uint(4)];
  const masks = masked ? [reader.uint(4), reader.uint(4)] : [ALL_BITS, ALL_BITS];
  return names.flatMap((name, index) => {
    const [value = 0, mask = 0] = [values[index], masks[index]];
    if (mask === 0) return [];
    return [{ name, value: mask === ALL_BITS ? value : { value, mask } }];
  });
}

/** One field and its value, as matches and set_field have it. */
export function encodeOxm(writer: Writer, name: FieldName, value: AnyValue): void {
  const field: Field = FIELDS[name];
  const masked = hasMask(field, value);
  writeHeader(writer, field, masked ? MASKED : 0);
  encodeValue(writer, field, value);
}

export function decodeOxm(reader: Reader): DecodedOxm {
  const { name, masked } = readHeader(reader);
  return { name, value: decodeValue(reader, FIELDS[name], masked) };
}

/** A field's header alone, as actions name their source and destination. */
export function encodeFieldHeader(writer: Writer, name: FieldName): void {
  writeHeader(writer, FIELDS[name], 0);
}

export function decodeFieldHeader(reader: Reader): FieldName {
  return readHeader(reader).name;
}

function writeHeader(writer: Writer, { oxmClass, number, sizeBytes }: Field, masked: 0 | 1): void {
  writer.uint(oxmClass, 2, "OXM class");
  writer.uint((number << 1) | masked, 1, "OXM field");
  writer.uint(sizeBytes << masked, 1, "OXM length");
}

function readHeader(reader: Reader): { name: FieldName; masked: boolean } {
  const oxmClass = reader.uint(2);
  const bits = reader.uint(1);
  const length = reader.uint(1);
  const name = findField(oxmClass, bits >> 1);
  const masked = (bits & MASKED) === 1;
  if (name === undefined) throw reader.unsupported(`field ${bits >> 1} of class 0x${oxmClass.toString(16)}`);
  const expected = FIELDS[name].sizeBytes << (masked ? 1 : 0);
  if (length !== expected) throw reader.error(`${FIELDS[name].name} has ${length} bytes, not ${expected}`);
  return { name, masked };
}
