import { decodeFlags, decodeInstructions, type Flow } from "./flow.ts";
import { decodeGroup, type Group } from "./group.ts";
import { decodeMatch } from "./match/match.ts";
import { formatMac } from "./match/value.ts";
import { OPENFLOW_15, OpenflowUnsupportedError, type Reader } from "./wire.ts";

export interface Counters {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** `unsupported` says what a flow of others has that this codec lacks: its match and instructions are then left out. */
export interface FlowStatistics extends Counters {
  readonly flow: Flow;
  readonly durationSeconds: number;
  readonly unsupported?: string;
}

export interface AggregateStatistics extends Counters {
  readonly flows: number;
}

export interface TableStatistics {
  readonly table: number;
  readonly flows: number;
  readonly lookups: bigint;
  readonly matched: bigint;
}

export interface GroupStatistics extends Counters {
  readonly group: number;
  readonly references: number;
  readonly durationSeconds: number;
  readonly buckets: readonly Counters[];
}

/** `unsupported` says what a group of others has that this codec lacks: only its id is then true. */
export interface GroupDescription {
  readonly group: Group;
  readonly unsupported?: string;
}

export interface Port {
  readonly number: number;
  readonly name: string;
  readonly mac: string;
  /** Taken down by configuration; without a carrier. */
  readonly isDown: boolean;
  readonly hasNoLink: boolean;
}

const OXS_BASIC = 0x8002;
const OXS = { duration: 0, idle: 1, flows: 3, packets: 4, bytes: 5 } as const;
const PORT_DOWN = 1;
const LINK_DOWN = 1;
const NAME_BYTES = 16;

export function decodeFlowStatistics(reader: Reader): FlowStatistics {
  const entry = within(reader, "statistics of a flow");
  return reader.version === OPENFLOW_15 ? decodeFlow15(entry) : decodeFlow14(entry);
}

function decodeFlow15(entry: Reader): FlowStatistics {
  entry.skip(2);
  const table = entry.uint(1);
  entry.skip(1);
  const head = decodeFlowHead(entry);
  const cookie = entry.uint64();
  const [match, unsupported] = attempt(() => decodeMatch(entry), {});
  if (unsupported !== undefined) return foreign({ ...head, table, cookie }, unsupported);
  const { packets, bytes, durationSeconds } = decodeOxs(entry);
  return withInstructions(entry, { ...head, table, cookie, match }, { packets, bytes, durationSeconds });
}

function decodeFlow14(entry: Reader): FlowStatistics {
  const table = entry.uint(1);
  entry.skip(1);
  const durationSeconds = entry.uint(4);
  entry.skip(4);
  const head = decodeFlowHead(entry);
  entry.skip(2);
  const cookie = entry.uint64();
  const [packets, bytes] = [entry.uint64(), entry.uint64()];
  const [match, unsupported] = attempt(() => decodeMatch(entry), {});
  if (unsupported !== undefined) return foreign({ ...head, table, cookie }, unsupported);
  return withInstructions(entry, { ...head, table, cookie, match }, { packets, bytes, durationSeconds });
}

function decodeFlowHead(entry: Reader): Pick<Flow, "priority" | "idleTimeoutSeconds" | "hardTimeoutSeconds" | "flags"> {
  const [priority, idle, hard, bits] = [entry.uint(2), entry.uint(2), entry.uint(2), entry.uint(2)];
  // Importance.
  entry.skip(2);
  const flags = decodeFlags(bits);
  return {
    priority,
    ...(idle === 0 ? {} : { idleTimeoutSeconds: idle }),
    ...(hard === 0 ? {} : { hardTimeoutSeconds: hard }),
    ...(flags.length === 0 ? {} : { flags }),
  };
}

type Counted = Omit<FlowStatistics, "flow" | "unsupported">;

function withInstructions(entry: Reader, flow: Flow, counted: Counted): FlowStatistics {
  const [instructions, unsupported] = attempt(() => decodeInstructions(entry), {});
  if (unsupported !== undefined) return { ...foreign(flow, unsupported), ...counted };
  return { flow: { ...flow, ...instructions }, ...counted };
}

function foreign(flow: Omit<Flow, "match">, unsupported: string): FlowStatistics {
  return { flow: { ...flow, match: {} }, packets: 0n, bytes: 0n, durationSeconds: 0, unsupported };
}

/** The result, or the fallback and what is not supported. */
function attempt<T>(decode: () => T, fallback: T): [T, string?] {
  try {
    return [decode()];
  } catch (error) {
    if (error instanceof OpenflowUnsupportedError) return [fallback, error.message];
    throw error;
  }
}

/** OpenFlow 1.5 section 7.2.4: statistics as type, length and value. Unknown ones are skipped. */
function decodeOxs(reader: Reader): Counters & { durationSeconds: number; flows: number } {
  reader.skip(2);
  const length = reader.uint(2);
  const fields = reader.within(length - 4, "statistics");
  reader.skipPadding(length);
  const found = { packets: 0n, bytes: 0n, durationSeconds: 0, flows: 0 };
  while (fields.remaining > 0) {
    const oxsClass = fields.uint(2);
    const number = fields.uint(1) >> 1;
    const value = fields.within(fields.uint(1), "a statistic");
    if (oxsClass !== OXS_BASIC) continue;
    if (number === OXS.packets) found.packets = value.uint64();
    else if (number === OXS.bytes) found.bytes = value.uint64();
    else if (number === OXS.duration) found.durationSeconds = value.uint(4);
    else if (number === OXS.flows) found.flows = value.uint(4);
  }
  return found;
}

export function decodeAggregate(reader: Reader): AggregateStatistics {
  if (reader.version === OPENFLOW_15) {
    const { packets, bytes, flows } = decodeOxs(reader);
    return { packets, bytes, flows };
  }
  const [packets, bytes, flows] = [reader.uint64(), reader.uint64(), reader.uint(4)];
  reader.skip(4);
  return { packets, bytes, flows };
}

export function decodeTable(reader: Reader): TableStatistics {
  const table = reader.uint(1);
  reader.skip(3);
  return { table, flows: reader.uint(4), lookups: reader.uint64(), matched: reader.uint64() };
}

export function decodeGroupStatistics(reader: Reader): GroupStatistics {
  const entry = within(reader, "statistics of a group");
  entry.skip(2);
  const [group, references] = [entry.uint(4), entry.uint(4)];
  entry.skip(4);
  const [packets, bytes, durationSeconds] = [entry.uint64(), entry.uint64(), entry.uint(4)];
  entry.skip(4);
  const buckets: Counters[] = [];
  while (entry.remaining > 0) buckets.push({ packets: entry.uint64(), bytes: entry.uint64() });
  return { group, references, packets, bytes, durationSeconds, buckets };
}

export function decodeGroupDescription(reader: Reader): GroupDescription {
  const entry = within(reader, "the description of a group");
  const type = entry.uint(1);
  entry.skip(1);
  const id = entry.uint(4);
  const [group, unsupported] = attempt<Group>(() => decodeGroup(entry, id, type), { id, type: "all", buckets: [] });
  return unsupported === undefined ? { group } : { group, unsupported };
}

export function decodePort(reader: Reader): Port {
  const number = reader.uint(4);
  const length = reader.uint(2);
  const entry = reader.within(length - 6, "a port");
  entry.skip(2);
  const mac = formatMac(entry.bytes(6));
  entry.skip(2);
  const name = entry.text(NAME_BYTES);
  const [config, state] = [entry.uint(4), entry.uint(4)];
  return { number, name, mac, isDown: (config & PORT_DOWN) !== 0, hasNoLink: (state & LINK_DOWN) !== 0 };
}

/** An entry that begins with its length. */
function within(reader: Reader, what: string): Reader {
  return reader.within(reader.uint(2) - 2, what);
}
