import type { Action } from "./actions/action.ts";
import { decodeActions } from "./actions/decode.ts";
import { encodeActions } from "./actions/encode.ts";
import { encodeMatch, type Match } from "./match/match.ts";
import type { Reader, Writer } from "./wire.ts";

/** What a flow does (OpenFlow 1.5 section 5.9), in the order of its execution. Nothing: the packet is dropped. */
export interface Instructions {
  readonly apply?: readonly Action[];
  /** Empties the action set. */
  readonly clear?: true;
  /** Adds to the action set, which is executed at the pipeline's end. */
  readonly write?: readonly Action[];
  /** Goes up only. */
  readonly goto?: number;
}

export interface Flow extends Instructions {
  readonly table: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly match: Match;
  /** Absent or 0: never. */
  readonly idleTimeoutSeconds?: number;
  readonly hardTimeoutSeconds?: number;
  readonly flags?: readonly FlowFlag[];
}

const FLAGS = { sendRemoved: 1, checkOverlap: 2, resetCounts: 4, noPacketCounts: 8, noByteCounts: 16 } as const;
export type FlowFlag = keyof typeof FLAGS;

/** Flows by what they are; an absent member fits all. Matches fit flows that match at least as much (section 6.4). */
export interface FlowFilter {
  readonly table?: number;
  readonly match?: Match;
  /** Compared in the bits of the mask, by default in all. */
  readonly cookie?: bigint;
  readonly cookieMask?: bigint;
  readonly outPort?: number;
  readonly outGroup?: number;
}

/** `modify` and `delete` change all flows that fit, the strict ones the flow of the same match and priority. */
export type FlowMod =
  | { readonly kind: "flow"; readonly command: "add" | "modify" | "modifyStrict"; readonly flow: Flow }
  | { readonly kind: "flow"; readonly command: "delete"; readonly filter: FlowFilter }
  | { readonly kind: "flow"; readonly command: "deleteStrict"; readonly filter: FlowFilter; readonly priority: number };

const COMMANDS = { add: 0, modify: 1, modifyStrict: 2, delete: 3, deleteStrict: 4 } as const;
const INSTRUCTION = { goto: 1, write: 3, apply: 4, clear: 5 } as const;
const NO_BUFFER = 0xffffffff;
const ANY = 0xffffffff;
const ALL_TABLES = 0xff;
const ALL_BITS = 0xffff_ffff_ffff_ffffn;

export function encodeFlowMod(writer: Writer, mod: FlowMod): void {
  if ("flow" in mod) {
    const { flow } = mod;
    encodeHead(writer, { command: mod.command, ...flow, cookieMask: 0n });
    encodeMatch(writer, flow.match);
    encodeInstructions(writer, flow);
    return;
  }
  const { cookie = 0n, table = ALL_TABLES, match = {} } = mod.filter;
  const priority = mod.command === "deleteStrict" ? mod.priority : 0;
  encodeHead(writer, { command: mod.command, ...mod.filter, cookie, cookieMask: maskOf(mod.filter), table, priority });
  encodeMatch(writer, match);
}

/** The body of requests for flows and for their sums. */
export function encodeFlowFilter(writer: Writer, filter: FlowFilter): void {
  writer.uint(filter.table ?? ALL_TABLES, 1, "table");
  writer.zeros(3);
  writer.uint(filter.outPort ?? ANY, 4, "outPort");
  writer.uint(filter.outGroup ?? ANY, 4, "outGroup");
  writer.zeros(4);
  writer.uint64(filter.cookie ?? 0n, "cookie");
  writer.uint64(maskOf(filter), "cookieMask");
  encodeMatch(writer, filter.match ?? {});
}

interface Head extends FlowFilter {
  command: FlowMod["command"];
  table: number;
  priority: number;
  cookie: bigint;
  cookieMask: bigint;
  idleTimeoutSeconds?: number;
  hardTimeoutSeconds?: number;
  flags?: readonly FlowFlag[];
}

function encodeHead(writer: Writer, head: Head): void {
  writer.uint64(head.cookie, "cookie");
  writer.uint64(head.cookieMask, "cookieMask");
  writer.uint(head.table, 1, "table");
  writer.uint(COMMANDS[head.command], 1, "command");
  writer.uint(head.idleTimeoutSeconds ?? 0, 2, "idleTimeoutSeconds");
  writer.uint(head.hardTimeoutSeconds ?? 0, 2, "hardTimeoutSeconds");
  writer.uint(head.priority, 2, "priority");
  writer.uint(NO_BUFFER, 4, "buffer");
  writer.uint(head.outPort ?? ANY, 4, "outPort");
  writer.uint(head.outGroup ?? ANY, 4, "outGroup");
  writer.uint(
    (head.flags ?? []).reduce((bits, flag) => bits | FLAGS[flag], 0),
    2,
    "flags",
  );
  // Importance: OVS evicts no flows unless it is asked to.
  writer.zeros(2);
}

function maskOf({ cookie, cookieMask }: FlowFilter): bigint {
  return cookieMask ?? (cookie === undefined ? 0n : ALL_BITS);
}

function encodeInstructions(writer: Writer, { apply, clear, write, goto: table }: Instructions): void {
  if (apply) encodeInstruction(writer, "apply", () => encodeActions(writer, apply));
  if (clear) encodeInstruction(writer, "clear", () => undefined);
  if (write) encodeInstruction(writer, "write", () => encodeActions(writer, write));
  if (table !== undefined) {
    const start = writer.length;
    writer.uint(INSTRUCTION.goto, 2, "instruction");
    writer.uint(8, 2, "instruction");
    writer.uint(table, 1, "goto");
    writer.pad(start);
  }
}

function encodeInstruction(writer: Writer, kind: keyof typeof INSTRUCTION, actions: () => void): void {
  const start = writer.length;
  writer.uint(INSTRUCTION[kind], 2, "instruction");
  writer.zeros(6);
  actions();
  writer.patchLength(start + 2, start, `an instruction (${kind})`);
}

/** Reads instructions to the reader's end. */
export function decodeInstructions(reader: Reader): Instructions {
  let found: Instructions = {};
  while (reader.remaining > 0) {
    const type = reader.uint(2);
    const length = reader.uint(2);
    if (length < 8 || length % 8 !== 0)
      throw reader.error(`an instruction has ${length} bytes, a multiple of 8 is expected`);
    const body = reader.within(length - 4, `instruction ${type}`);
    if (type === INSTRUCTION.goto) found = { ...found, goto: body.uint(1) };
    else {
      body.skip(4);
      if (type === INSTRUCTION.apply) found = { ...found, apply: decodeActions(body) };
      else if (type === INSTRUCTION.write) found = { ...found, write: decodeActions(body) };
      else if (type === INSTRUCTION.clear) found = { ...found, clear: true };
      else throw body.unsupported("an instruction that is not known");
    }
  }
  return found;
}

export function decodeFlags(bits: number): FlowFlag[] {
  return (Object.keys(FLAGS) as FlowFlag[]).filter(flag => bits & FLAGS[flag]);
}
