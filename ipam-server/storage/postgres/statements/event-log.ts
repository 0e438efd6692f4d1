import type { EventList, EventQuery } from "../../../contract/index.ts";
import { canonicalAddress } from "../../../domain/model/address.ts";
import type { NewEvent } from "../../../domain/model/snapshot.ts";
import {
  addressIdentity,
  decodeEvent,
  type EventRow,
  encodeEvent,
  findIdentity,
  identitiesOf,
} from "../../event-rows.ts";
import { pageSize, pruneLimit } from "../../limits.ts";
import { encodeMac } from "../../port-rows.ts";
import { type Element, toArray, toColumns } from "../database/array-literal.ts";
import { type Bound, prepare, type Row, type Send } from "../database/statement.ts";
import { EVENT_COLUMNS } from "../rows/event-rows.ts";
import { unnest } from "./write-applier.ts";

export const EVENTS_CHANNEL = "mooring_events";

const NEW_COLUMNS = EVENT_COLUMNS.slice(2);
const NEW_NAMES = NEW_COLUMNS.map(([name]) => name).join(", ");
const MORE_COLUMNS = [...NEW_COLUMNS, ["port_key", "bigint"], ["identities", "text"]] as const;
const MORE_ARRAYS = MORE_COLUMNS.map(([, type], index) => `$${index + 4}::${type}[]`).join(", ");

/**
 * Numbers and writes the events, and notifies all replicas when the transaction commits; until then the counter's row
 * stays locked (see `migrations.ts`). $1: how many, $2: their time, $3: the writing replica.
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
/** $1: how many events were written; w.nr is an event's position among them. */
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
/** Keeps the newest event. $1: the time before which events are deleted, $2: how many at most. */
const PRUNE = prepare(
  `WITH old AS (
     SELECT seq, identities FROM (
       SELECT seq, time, identities FROM events WHERE seq < (SELECT last_seq FROM event_counter) ORDER BY seq LIMIT $2::int
     ) AS oldest WHERE time < $1::bigint
   ), pruned AS (
     DELETE FROM event_identities AS t USING (
       SELECT unnest(string_to_array(identities, ',')) AS value, seq FROM old WHERE identities IS NOT NULL
     ) AS w WHERE t.value = w.value AND t.seq = w.seq
   ) DELETE FROM events WHERE seq = ANY (ARRAY(SELECT seq FROM old))`,
);
const OLDEST_TIME = prepare("SELECT time FROM events ORDER BY seq LIMIT 1");
/** Events from before the floor are history: readers cannot resume from them. */
const EXTENT = prepare(
  `SELECT last_seq, greatest(coalesce((SELECT seq FROM events ORDER BY seq LIMIT 1), last_seq + 1), floor + 1)
   FROM event_counter`,
);
const LAST_SEQ = prepare("SELECT last_seq FROM event_counter");

export async function readLastSeq(send: Send): Promise<number> {
  const [row] = await send<[lastSeq: number]>(LAST_SEQ);
  return row?.[0] ?? 0;
}

/** To be sent last in a transaction, because these statements take the lock that orders all commits. */
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

/** The number of the transaction's last event; undefined if it wrote none. */
export function lastSeqOf(writes: readonly Bound[], answers: readonly (readonly Row[])[]): number | undefined {
  const index = writes.findIndex(({ statement }) => statement === APPEND);
  return answers[index]?.[0]?.[0] as number | undefined;
}

/** Deletes events past their retention, a few for each commit. The newest event stays. */
export class EventPruner {
  readonly #retentionMs: number;
  /** No event is older than this. */
  #oldestTime = 0;

  constructor(retentionMs: number) {
    this.#retentionMs = retentionMs;
  }

  /** To be sent after the events, because the lock on their counter keeps two replicas from pruning the same rows. */
  plan(written: number, now: number): Bound[] {
    const before = now - this.#retentionMs;
    if (this.#oldestTime >= before) return [];
    return [
      { statement: PRUNE, values: [before, pruneLimit(written)] },
      { statement: OLDEST_TIME, values: [] },
    ];
  }

  /** Reads the oldest event's time from the answers of a committed transaction. */
  observe(writes: readonly Bound[], answers: readonly (readonly Row[])[]): void {
    const index = writes.findIndex(({ statement }) => statement === OLDEST_TIME);
    const time = answers[index]?.[0]?.[0];
    if (typeof time === "number") this.#oldestTime = time;
  }
}

/** @param livePorts the keys of the ports that have the queried name, address or MAC now */
export async function readEvents(
  send: Send,
  query: EventQuery,
  livePorts: readonly number[],
  upTo?: number,
): Promise<EventList> {
  const { after = 0, host, type, port, ip, mac, limit } = query;
  const values: Element[] = [after, pageSize(limit)];
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
  // An expression makes PostgreSQL sort the few events of a port, found by its index, instead of scanning all events.
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
