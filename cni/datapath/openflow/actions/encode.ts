import { FIELDS } from "../match/field.ts";
import { encodeFieldHeader, encodeOxm } from "../match/match.ts";
import { hasMask } from "../match/value.ts";
import { OPENFLOW_15, OpenflowValueError, type Writer } from "../wire.ts";
import type { Action, MoveAction, SetAction } from "./action.ts";
import { encodeCt } from "./conntrack.ts";
import { encodeLearn } from "./learn.ts";
import { encodeAction, encodeNicira, encodeRange } from "./nicira.ts";

/** OpenFlow 1.5 section 7.2.6. */
export const ACTION = {
  output: 0,
  pushVlan: 17,
  popVlan: 18,
  group: 22,
  decTtl: 24,
  setField: 25,
  copyField: 28,
} as const;
const VLAN_TYPE = 0x8100;
const SAME_PORT = 0xfff8;
const MAX_CLAUSES = 64;
const NOTE_HEADER_BYTES = 10;

export function encodeActions(writer: Writer, actions: readonly Action[]): void {
  for (const action of actions) encodeOne(writer, action);
}

function encodeOne(writer: Writer, action: Action) {
  switch (action.kind) {
    case "output":
      return encodeAction(writer, ACTION.output, () => {
        writer.uint(action.port, 4, "output port");
        // Packets to the controller are sent whole.
        writer.uint(0xffff, 2, "output length");
        writer.zeros(6);
      });
    case "outputField":
      return encodeNicira(writer, "outputReg", () => {
        encodeRange(writer, action.from);
        encodeFieldHeader(writer, action.from.field);
        writer.uint(0xffff, 2, "output length");
        writer.zeros(6);
      });
    case "group":
      return encodeAction(writer, ACTION.group, () => writer.uint(action.group, 4, "group"));
    case "pushVlan":
      return encodeAction(writer, ACTION.pushVlan, () => writer.uint(VLAN_TYPE, 2, "VLAN type"));
    case "popVlan":
      return encodeAction(writer, ACTION.popVlan, () => writer.zeros(4));
    case "decTtl":
      return encodeAction(writer, ACTION.decTtl, () => writer.zeros(4));
    case "set":
      return encodeSet(writer, action);
    case "move":
      return encodeMove(writer, action);
    case "resubmit":
      return encodeNicira(writer, action.ct ? "resubmitCt" : "resubmit", () => {
        writer.uint(SAME_PORT, 2, "resubmit port");
        writer.uint(action.table, 1, "resubmit table");
        writer.zeros(3);
      });
    case "ct":
      return encodeCt(writer, action, nested => encodeActions(writer, nested));
    case "learn":
      return encodeLearn(writer, action);
    case "conjunction":
      return encodeConjunction(writer, action);
    case "note":
      return encodeNote(writer, action.data);
  }
}

/** OpenFlow 1.4 has no mask in set_field; Nicira's load has one. */
function encodeSet(writer: Writer, { field, value }: SetAction) {
  if (writer.version === OPENFLOW_15 || !hasMask(FIELDS[field], value))
    return encodeAction(writer, ACTION.setField, () => encodeOxm(writer, field, value));
  encodeNicira(writer, "regLoad2", () => encodeOxm(writer, field, value));
}

function encodeMove(writer: Writer, { from, to }: MoveAction) {
  if (from.bits !== to.bits)
    throw new OpenflowValueError(`bits moved to ${to.field}`, to.bits, `${from.bits}, as many as are read`);
  const ranges = () => {
    writer.uint(from.bits, 2, "bits moved");
    writer.uint(from.offset, 2, `offset of ${from.field}`);
    writer.uint(to.offset, 2, `offset of ${to.field}`);
  };
  const fields = () => {
    encodeFieldHeader(writer, from.field);
    encodeFieldHeader(writer, to.field);
  };
  if (writer.version === OPENFLOW_15)
    return encodeAction(writer, ACTION.copyField, () => {
      ranges();
      writer.zeros(2);
      fields();
    });
  encodeNicira(writer, "regMove", () => {
    ranges();
    fields();
  });
}

function encodeConjunction(writer: Writer, { id, clause, clauses }: Action & { kind: "conjunction" }): void {
  if (clause < 1 || clause > clauses || clauses < 2 || clauses > MAX_CLAUSES)
    throw new OpenflowValueError(
      "conjunction",
      `${clause}/${clauses}`,
      `k/n of 1 <= k <= n and 2 <= n <= ${MAX_CLAUSES}`,
    );
  encodeNicira(writer, "conjunction", () => {
    writer.uint(clause - 1, 1, "clause");
    writer.uint(clauses, 1, "clauses");
    writer.uint(id, 4, "conjunction id");
  });
}

function encodeNote(writer: Writer, data: string): void {
  if (!/^([\da-f]{2})*$/.test(data)) throw new OpenflowValueError("note", data, "pairs of hexadecimal digits");
  encodeNicira(writer, "note", () => {
    const bytes = Buffer.from(data, "hex");
    writer.bytes(bytes);
    writer.zeros(-(NOTE_HEADER_BYTES + bytes.length) & 7);
  });
}
