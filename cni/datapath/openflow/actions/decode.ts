import { FIELDS } from "../match/field.ts";
import { decodeFieldHeader, decodeOxm } from "../match/match.ts";
import { NICIRA, type Reader } from "../wire.ts";
import type { Action, FieldSlice, MoveAction, Nat, SetAction } from "./action.ts";
import { decodeCt, decodeNat } from "./conntrack.ts";
import { ACTION } from "./encode.ts";
import { decodeLearn } from "./learn.ts";
import { decodeRange, EXPERIMENTER, NICIRA_ACTION } from "./nicira.ts";

const MIN_ACTION_BYTES = 8;

/** Reads actions to the reader's end. Throws OpenflowUnsupportedError at one that Mooring never writes. */
export function decodeActions(reader: Reader): Action[] {
  return decodeAny(reader).map(action => {
    if (!("kind" in action)) throw reader.unsupported("nat outside of ct");
    return action;
  });
}

/** `nat` is an action on the wire, but only inside `ct`. */
function decodeAny(reader: Reader, isInsideCt = false): (Action | Nat)[] {
  const actions: (Action | Nat)[] = [];
  while (reader.remaining > 0) {
    const type = reader.uint(2);
    const length = reader.uint(2);
    if (length < MIN_ACTION_BYTES || length % 8 !== 0)
      throw reader.error(`an action has ${length} bytes, a multiple of 8 is expected`);
    actions.push(decodeOne(type, reader.within(length - 4, `action ${type}`), isInsideCt));
  }
  return actions;
}

function decodeOne(type: number, reader: Reader, isInsideCt: boolean): Action | Nat {
  switch (type) {
    case ACTION.output:
      return { kind: "output", port: reader.uint(4) };
    case ACTION.group:
      return { kind: "group", group: reader.uint(4) };
    case ACTION.pushVlan:
      return { kind: "pushVlan" };
    case ACTION.popVlan:
      return { kind: "popVlan" };
    case ACTION.decTtl:
      return { kind: "decTtl" };
    case ACTION.setField:
      return decodeSet(reader);
    case ACTION.copyField:
      return decodeMove(reader, 2);
    case EXPERIMENTER:
      return decodeExperimenter(reader, isInsideCt);
    default:
      throw reader.unsupported("an action that is not known");
  }
}

function decodeExperimenter(reader: Reader, isInsideCt: boolean): Action | Nat {
  const experimenter = reader.uint(4);
  const subtype = reader.uint(2);
  if (experimenter !== NICIRA) throw reader.unsupported(`experimenter 0x${experimenter.toString(16)}`);
  switch (subtype) {
    case NICIRA_ACTION.regMove:
      return decodeMove(reader, 0);
    case NICIRA_ACTION.regLoad:
      return decodeLoad(reader);
    case NICIRA_ACTION.regLoad2:
      return decodeSet(reader);
    case NICIRA_ACTION.note:
      return { kind: "note", data: reader.bytes(reader.remaining).toString("hex") };
    case NICIRA_ACTION.resubmit:
      return decodeResubmit(reader, false);
    case NICIRA_ACTION.resubmitCt:
      return decodeResubmit(reader, true);
    case NICIRA_ACTION.outputReg: {
      const range = decodeRange(reader);
      return { kind: "outputField", from: { field: decodeFieldHeader(reader), ...range } };
    }
    case NICIRA_ACTION.learn:
      return decodeLearn(reader);
    case NICIRA_ACTION.conjunction:
      return { kind: "conjunction", clause: reader.uint(1) + 1, clauses: reader.uint(1), id: reader.uint(4) };
    case NICIRA_ACTION.ct:
      // OVS has no such thing; without this check damaged input would nest without end.
      if (isInsideCt) throw reader.unsupported("ct inside ct");
      return decodeCt(reader, nested => decodeAny(nested, true));
    case NICIRA_ACTION.nat:
      return decodeNat(reader);
    default:
      throw reader.unsupported(`Nicira's action ${subtype}`);
  }
}

function decodeSet(reader: Reader): SetAction {
  const { name, value } = decodeOxm(reader);
  return { kind: "set", field: name, value } as SetAction;
}

/** A load of all of a field's bits is a set without a mask. */
function decodeLoad(reader: Reader): SetAction {
  const { offset, bits } = decodeRange(reader);
  const field = decodeFieldHeader(reader);
  const value = Number(reader.uint64());
  if (FIELDS[field].kind !== "number") throw reader.unsupported(`a load of ${FIELDS[field].name}`);
  if (offset === 0 && bits === FIELDS[field].bits) return { kind: "set", field, value } as SetAction;
  const shift = 2 ** offset;
  return { kind: "set", field, value: { value: value * shift, mask: (2 ** bits - 1) * shift } } as SetAction;
}

function decodeMove(reader: Reader, padding: number): MoveAction {
  const bits = reader.uint(2);
  const [fromOffset, toOffset] = [reader.uint(2), reader.uint(2)];
  reader.skip(padding);
  const from: FieldSlice = { field: decodeFieldHeader(reader), offset: fromOffset, bits };
  return { kind: "move", from, to: { field: decodeFieldHeader(reader), offset: toOffset, bits } };
}

function decodeResubmit(reader: Reader, ct: boolean): Action {
  reader.skip(2);
  const table = reader.uint(1);
  return { kind: "resubmit", table, ...(ct ? { ct: true } : {}) };
}
