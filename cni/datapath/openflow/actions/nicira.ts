import type { FieldName } from "../match/field.ts";
import { decodeFieldHeader, encodeFieldHeader } from "../match/match.ts";
import { NICIRA, OpenflowValueError, type Reader, type Writer } from "../wire.ts";
import type { FieldSlice } from "./action.ts";

export const EXPERIMENTER = 0xffff;

/** Subtypes of OVS's lib/ofp-actions.c. */
export const NICIRA_ACTION = {
  regMove: 6,
  regLoad: 7,
  note: 8,
  resubmit: 14,
  outputReg: 15,
  learn: 16,
  regLoad2: 33,
  conjunction: 34,
  ct: 35,
  nat: 36,
  resubmitCt: 44,
} as const;

/** Writes an action with its length and padding. */
export function encodeAction(writer: Writer, type: number, body: () => void): void {
  const start = writer.length;
  writer.uint(type, 2, "action");
  writer.uint(0, 2, "action");
  body();
  writer.pad(start);
  writer.patchLength(start + 2, start, "an action");
}

export function encodeNicira(writer: Writer, subtype: keyof typeof NICIRA_ACTION, body: () => void): void {
  encodeAction(writer, EXPERIMENTER, () => {
    writer.uint(NICIRA, 4, "experimenter");
    writer.uint(NICIRA_ACTION[subtype], 2, "subtype");
    body();
  });
}

/** OVS's `ofs_nbits`: 10 bits of offset, 6 of the length less one. */
export function encodeRange(writer: Writer, { field, offset, bits }: FieldSlice): void {
  if (!Number.isInteger(bits) || bits < 1 || bits > 64)
    throw new OpenflowValueError(`bits of ${field}`, bits, "a number from 1 to 64");
  writer.uint((offset << 6) | (bits - 1), 2, `offset of ${field}`);
}

export function decodeRange(reader: Reader): { offset: number; bits: number } {
  const value = reader.uint(2);
  return { offset: value >> 6, bits: (value & 0x3f) + 1 };
}

/** A field with the offset of its bits, as `learn` names source and destination. */
export function encodeFieldAt(writer: Writer, { field, offset }: FieldSlice): void {
  encodeFieldHeader(writer, field);
  writer.uint(offset, 2, `offset of ${field}`);
}

export function decodeFieldAt(reader: Reader): { field: FieldName; offset: number } {
  return { field: decodeFieldHeader(reader), offset: reader.uint(2) };
}
