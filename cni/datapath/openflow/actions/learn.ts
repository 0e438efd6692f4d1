import { FIELDS } from "../match/field.ts";
import { OpenflowValueError, type Reader, type Writer } from "../wire.ts";
import type { FieldSlice, LearnAction, LearnSpec } from "./action.ts";
import { decodeFieldAt, encodeFieldAt, encodeNicira } from "./nicira.ts";

const DELETE_LEARNED = 2;
const CONSTANT = 1 << 13;
const TO_MATCH = 0;
const TO_LOAD = 1 << 11;
const TO_OUTPUT = 2 << 11;
const BITS = 0x7ff;
/** What a JavaScript number holds in this codec: larger constants do not occur. */
const MAX_CONSTANT_BITS = 32;

export function encodeLearn(writer: Writer, learn: LearnAction): void {
  encodeNicira(writer, "learn", () => {
    writer.uint(learn.idleTimeoutSeconds, 2, "learn idleTimeoutSeconds");
    writer.uint(learn.hardTimeoutSeconds, 2, "learn hardTimeoutSeconds");
    writer.uint(learn.priority, 2, "learn priority");
    writer.uint64(learn.cookie, "learn cookie");
    writer.uint(learn.deleteLearned ? DELETE_LEARNED : 0, 2, "learn flags");
    writer.uint(learn.table, 1, "learn table");
    // Padding, and no timeouts after a FIN.
    writer.zeros(5);
    for (const spec of learn.specs) encodeSpec(writer, spec);
  });
}

export function decodeLearn(reader: Reader): LearnAction {
  const idleTimeoutSeconds = reader.uint(2);
  const hardTimeoutSeconds = reader.uint(2);
  const priority = reader.uint(2);
  const cookie = reader.uint64();
  const flags = reader.uint(2);
  const table = reader.uint(1);
  reader.skip(1);
  if ((flags & ~DELETE_LEARNED) !== 0 || reader.uint(4) !== 0)
    throw reader.unsupported("a flag or FIN timeout of learn");
  const specs: LearnSpec[] = [];
  // A header of zeros begins the padding.
  while (reader.remaining >= 2 && reader.peek(2) !== 0) specs.push(decodeSpec(reader));
  const deleteLearned = flags & DELETE_LEARNED ? ({ deleteLearned: true } as const) : {};
  return {
    kind: "learn",
    table,
    priority,
    cookie,
    idleTimeoutSeconds,
    hardTimeoutSeconds,
    ...deleteLearned,
    specs,
  };
}

function encodeSpec(writer: Writer, spec: LearnSpec): void {
  if (spec.kind === "output") {
    writer.uint(TO_OUTPUT | spec.from.bits, 2, "learn output");
    encodeFieldAt(writer, spec.from);
    return;
  }
  const { kind, from, to } = spec;
  const target = kind === "match" ? TO_MATCH : TO_LOAD;
  if (typeof from === "number") encodeConstant(writer, target, from, to);
  else {
    if (from.bits !== to.bits) throw new OpenflowValueError(`learn ${from.field}`, from.bits, `of ${to.bits} bits`);
    writer.uint(target | from.bits, 2, "learn bits");
    encodeFieldAt(writer, from);
  }
  encodeFieldAt(writer, to);
}

function encodeConstant(writer: Writer, target: number, value: number, { field, bits }: FieldSlice): void {
  if (bits > MAX_CONSTANT_BITS || value >= 2 ** bits)
    throw new OpenflowValueError(
      `learn ${FIELDS[field].name}`,
      value,
      `a constant of at most ${MAX_CONSTANT_BITS} bits`,
    );
  writer.uint(CONSTANT | target | bits, 2, "learn bits");
  writer.uint(value, bits > 16 ? 4 : 2, `learn ${FIELDS[field].name}`);
}

function decodeSpec(reader: Reader): LearnSpec {
  const header = reader.uint(2);
  const bits = header & BITS;
  const target = header & (3 << 11);
  if ((header & CONSTANT) === 0) {
    const from = { ...decodeFieldAt(reader), bits };
    if (target === TO_OUTPUT) return { kind: "output", from };
    return { kind: target === TO_LOAD ? "load" : "match", from, to: { ...decodeFieldAt(reader), bits } };
  }
  if (bits > MAX_CONSTANT_BITS) throw reader.unsupported(`a constant of ${bits} bits in learn`);
  const from = reader.uint(bits > 16 ? 4 : 2);
  return { kind: target === TO_LOAD ? "load" : "match", from, to: { ...decodeFieldAt(reader), bits } };
}
