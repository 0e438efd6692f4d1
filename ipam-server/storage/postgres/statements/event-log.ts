import type { EventList, EventQuery } from "../../../contract/index.ts";
import { canonicalAddress } from "../../../domain/model/address.ts";
import type { NewEvent } from "../../../domain/model/snapshot.ts";
import {
  addressIdentity,
  decodeEvent,
  EVENT_COLUMNS,
  type EventRow,
  encodeEvent,
  findIdentity,
  identitiesOf,
} from "../../event-rows.ts";
import { type Element, toArray, toColumns } from "../database/array-literal.ts";
import { type Bound, prepare, type Row, type Send } from "../database/statement.ts";
import { encodeMac } from "../rows/port-rows.ts";
import { unnest } from "./write-applier.ts";

export const EVENTS_CHANNEL = "mooring_events";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
/** Each commit clears away at most this many times the events it wrote, and this many more. */
const PRUNE_FACTOR = 2;
const PRUNE_LEAST = 16;

const NEW_COLUMNS = EVENT_COLUMNS.slice(2);
const NEW_NAMES = NEW_COLUMNS.map(([name]) => name).join(", ");
const MORE_COLUMNS = [...NEW_COLUMNS, ["port_key", "bigint"], ["identities", "text"]] as const;
const MORE_ARRAYS = MORE_COLUMNS.map(([, type], index) => `$${index + 4}::${type}[]`).join(", ");

/**
 * Numbers the events, writes them and tells all replicas, once the transaction has committed. $1: how many, $2: their
 * time, $3: who writes. The counter's row stays locked until then: see `migrations.ts`.
 */
const APPEND = prepare(
  `WITH counter AS (
     UPDATE event_counter SET last_seq = last_seq + $1::bigint RETURNING last_seq, last_seq - $1::bigint AS base
   ), written AS (
     INSERT INTO events (seq, time, ${NEW_NAMES}, port_key, identities)
     SELECT base + w.nr, $2::bigint, ${MORE_COLUMNS.map(([name]) => `w.${name}`).join(", ")}
     FROM counter, unnest(${MORE_ARRAYS}) WITH ORDINALITY AS w (${MORE_COLUMNS.map(([name]) => name).join(", ")}, nr)
   ) SELECT last_seq, pg_notify('${EVENTS_CHANNEL}', last_seq || ' ' || $3::text) FROM counter`,
);
/** $1: how many events were written, of which w.nr is the place among them. */
const IDENTIFY = prepare(
  `INSERT INTO event_identities (value, seq, port_key)
   SELECT w.value, (SELECT last_seq FROM event_counter) - $1::bigint + w.nr, w.port_key
   FROM ${unnest(
     [
       ["value", "text"],
       ["nr", "bigint"],
       ["port_key", "bigint"],
     ],
     2,
   )}`,
);
/** The newest event stays. $1: older than this, $2: at most so many. */
const PRUNE = prepare(
  `WITH old AS (
     SELECT seq, identities FROM (
       SELECT seq, time, identities FROM events WHERE seq < (SELECT last_seq FROM event_counter) ORDER BY seq LIMIT $2::int
     ) AS oldest WHERE time < $1::bigint
   ), forgotten AS (
     DELETE FROM event_identities AS t USING (
       SELECT unnest(string_to_array(identities, ',')) AS value, seq FROM old WHERE identities IS NOT NULL
     ) AS w WHERE t.value = w.value AND t.seq = w.seq
   ) DELETE FROM events WHERE seq = ANY (ARRAY(SELECT seq FROM old))`,
);
const OLDEST_TIME = prepare("SELECT time FROM events ORDER BY seq LIMIT 1");
/** What is kept from before the floor is history, not something that a reader could go on from. */
const EXTENT = prepare(
  `SELECT last_seq, greatest(coalesce((SELECT seq FROM events ORDER BY seq LIMIT 1), last_seq + 1), floor + 1)
   FROM event_counter`,
);
const LAST_SEQ = prepare("SELECT last_seq FROM event_counter");

export async function readLastSeq(send: Send): Promise<number> {
  const [row] = await send<[lastSeq: number]>(LAST_SEQ);
  return row?.[0] ?? 0;
}

/** The last statements of a transaction: they take the lock that puts all commits in order. */
export function planEvents(events: readonly NewEvent[], now: number, writer: string): Bound[] {
  if (events.length === 0) return [];
  const rows = events.map((event): Element[] => [
    ...encodeEvent(event),
    event.portKey ?? null,
    identitiesOf(event)?.join(",") ?? null,
  ]);
  const statements: Bound[] = [
    { statement: APPEND, values: [events.length, now, writer, ...toColumns(rows, MORE_COLUMNS.length)] },
  ];
  const identities = events.flatMap((event, index) =>
    (identitiesOf(event) ?? []).map((value): Element[] => [value, index + 1, event.portKey ?? 0]),
  );
  if (identities.length > 0)
    statements.push({ statement: IDENTIFY, values: [events.length, ...toColumns(identities, 3)] });
  const last = statements.at(-1);
  if (last) last.step = "events";
  return statements;
}

/** What the transaction's last event was numbered. */
export function lastSeqOf(writes: readonly Bound[], answers: readonly (readonly Row[])[]): number | undefined {
  const index = writes.findIndex(({ statement }) => statement === APPEND);
  return answers[index]?.[0]?.[0] as number | undefined;
}

/** Clears away what is past its time, in small steps: no commit waits long for it. The newest event stays. */
export class EventPruner {
  readonly #retentionMs: number;
  /** No event is older. */
  #oldestTime = 0;

  constructor(retentionMs: number) {
    this.#retentionMs = retentionMs;
  }

  /** To be sent behind the events: the lock on their counter keeps replicas from pruning the same at once. */
  plan(written: number, now: number): Bound[] {
    const before = now - this.#retentionMs;
    if (this.#oldestTime >= before) return [];
    return [
      { statement: PRUNE, values: [before, written * PRUNE_FACTOR + PRUNE_LEAST] },
      { statement: OLDEST_TIME, values: [] },
    ];
  }

  /** After the commit. */
  observe(writes: readonly Bound[], answers: readonly (readonly Row[])[]): void {
    const index = writes.findIndex(({ statement }) => statement === OLDEST_TIME);
    const time = answers[index]?.[0]?.[0];
    if (typeof time === "number") this.#oldestTime = time;
  }
}

/** `livePorts`: the keys of the ports that have the name, address or MAC asked for now. */
export async function readEvents(
  send: Send,
  query: EventQuery,
  livePorts: readonly number[],
  upTo?: number,
): Promise<EventList> {
  const { after = 0, host, type, port, ip, mac, limit = DEFAULT_LIMIT } = query;
  const values: Element[] = [after, Math.min(limit, MAX_LIMIT)];
  const conditions = ["seq > $1"];
  const add = (condition: (...marks: string[]) => string, ...more: Element[]) => {
    conditions.push(condition(...more.map((_, index) => `$${values.length + index + 1}`)));
    values.push(...more);
  };
  if (upTo !== undefined) add(mark => `seq <= ${mark}`, upTo);
  if (host !== undefined) add(mark => `(host = ${mark} OR from_host = ${mark})`, host);
  if (type !== undefined) add(mark => `type = ANY (${mark}::text[])`, toArray(type));
  const identity = findIdentity(query);
  if (identity !== undefined) {
    add(
      (value, keys) =>
        `port_key = ANY (ARRAY(SELECT port_key FROM event_identities WHERE value = ${value} UNION SELECT unnest(${keys}::bigint[])))`,
      identity,
      toArray(livePorts),
    );
  }
  if (port !== undefined) add(mark => `port = ${mark}`, port);
  if (mac !== undefined) add(mark => `mac = ${mark}`, encodeMac(mac));
  if (ip !== undefined) {
    const address = canonicalAddress(ip) ?? ip;
    add(
      (now, former) =>
        `(${now} = ANY (string_to_array(addresses, ',')) OR ${former} = ANY (string_to_array(identities, ',')))`,
      address,
      addressIdentity(address),
    );
  }
  const columns = EVENT_COLUMNS.map(([name]) => name).join(", ");
  // As an expression it is sorted: the few events of a port are found by its index, not by passing all events.
  const order = identity === undefined ? "seq" : "seq + 0";
  const where = conditions.join(" AND ");
  const select = prepare(`SELECT ${columns} FROM events WHERE ${where} ORDER BY ${order} LIMIT $2::int`);
  const [extent, rows] = await Promise.all([
    send<[lastSeq: number, oldestSeq: number]>(EXTENT),
    send<EventRow>(select, ...values),
  ]);
  const [lastSeq = 0, oldestSeq = 1] = extent[0] ?? [];
  return { events: rows.map(decodeEvent), lastSeq, oldestSeq };
}
