import type { NewEvent } from "../../../domain/model/snapshot.ts";
import type { StorageUsage } from "../../../domain/store.ts";
import { encodeEvent, identitiesOf } from "../../event-rows.ts";
import { type EventOverhead, type HistoryLimits, sizeOfEvent } from "../../event-size.ts";
import { PRUNE_PROBES, pruneLimit } from "../../limits.ts";
import { type Element, toColumns } from "../database/array-literal.ts";
import { type Bound, prepare, type Row, type Send } from "../database/statement.ts";
import { EVENT_COLUMNS } from "../rows/event-rows.ts";
import { unnest } from "./write-applier.ts";

export const EVENTS_CHANNEL = "mooring_events";

const NEW_COLUMNS = EVENT_COLUMNS.slice(2);
const NEW_NAMES = NEW_COLUMNS.map(([name]) => name).join(", ");
const MORE_COLUMNS = [...NEW_COLUMNS, ["port_key", "bigint"], ["identities", "text"], ["bytes", "integer"]] as const;
const MORE_ARRAYS = MORE_COLUMNS.map(([, type], index) => `$${index + 5}::${type}[]`).join(", ");
const OVERHEAD: EventOverhead = { event: 180, identity: 110 };

/**
 * Numbers and writes the events, and notifies all replicas when the transaction commits; until then the counter's row
 * stays locked (see `migrations.ts`). $1: how many, $2: their time, $3: the writing replica, $4: their
 * bytes.
 */
const APPEND = prepare(
  `WITH counter AS (
     UPDATE event_counter SET last_seq = last_seq + $1::bigint, event_bytes = event_bytes + $4::bigint
     RETURNING last_seq, last_seq - $1::bigint AS base, event_bytes
   ), written AS (
     INSERT INTO events (seq, time, ${NEW_NAMES}, port_key, identities, bytes)
     SELECT base + w.nr, $2::bigint, ${MORE_COLUMNS.map(([name]) => `w.${name}`).join(", ")}
     FROM counter, unnest(${MORE_ARRAYS}) WITH ORDINALITY AS w (${MORE_COLUMNS.map(([name]) => name).join(", ")}, nr)
   ) SELECT last_seq, pg_notify('${EVENTS_CHANNEL}', last_seq || ' ' || $3::text), event_bytes FROM counter`,
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
/**
 * Events at growing distances from the oldest: those in front of an expired one are as old despite their times,
 * because a clock may have been ahead when they were written. At worst that finds them later by as many events as those.
 */
const PROBES = `SELECT seq, time FROM events WHERE seq = ANY (ARRAY(
    SELECT (SELECT min(seq) FROM events) + (1::bigint << nr) - 1 FROM generate_series(0, ${PRUNE_PROBES}) AS nr
  ))`;
/** Keeps the newest event. $1: the time before which events are deleted, $2: how many at most, $3: the bytes to keep. */
const PRUNE = prepare(
  `WITH first AS MATERIALIZED (
     SELECT * FROM events WHERE seq < (SELECT last_seq FROM event_counter) ORDER BY seq LIMIT $2::int
   ), expired AS (
     SELECT max(seq) AS up_to FROM (SELECT seq, time FROM first UNION ALL ${PROBES}) AS seen WHERE time < $1::bigint
   ), old AS (
     SELECT seq, identities, bytes FROM (
       SELECT seq, identities, bytes, sum(bytes) OVER (ORDER BY seq) - bytes AS before FROM first
     ) AS oldest WHERE seq <= (SELECT up_to FROM expired) OR before < (SELECT event_bytes FROM event_counter) - $3::bigint
   ), pruned AS (
     DELETE FROM event_identities AS t USING (
       SELECT unnest(string_to_array(identities, ',')) AS value, seq FROM old WHERE identities IS NOT NULL
     ) AS w WHERE t.value = w.value AND t.seq = w.seq
   ), counted AS (
     UPDATE event_counter SET event_bytes = event_bytes - (SELECT coalesce(sum(bytes), 0) FROM old)
   ) DELETE FROM events WHERE seq = ANY (ARRAY(SELECT seq FROM old))`,
);
const OLDEST_TIME = prepare(`SELECT min(time) FROM (${PROBES}) AS probes`);
const USAGE = prepare(
  `SELECT pg_database_size(current_database()), event_bytes, (SELECT time FROM events ORDER BY seq LIMIT 1)
   FROM event_counter`,
);
const LAST_SEQ = prepare("SELECT last_seq FROM event_counter");

export async function readLastSeq(send: Send): Promise<number> {
  const [row] = await send<[lastSeq: number]>(LAST_SEQ);
  return row?.[0] ?? 0;
}

export async function readUsage(send: Send): Promise<StorageUsage> {
  const [[database, events, oldest] = [0, 0, null]] =
    await send<[database: number, events: number, oldest: number | null]>(USAGE);
  return { database, events, ...(oldest !== null && { oldestEventTime: oldest }) };
}

/** To be sent last in a transaction, because these statements take the lock that orders all commits. */
export function planEvents(events: readonly NewEvent[], now: number, writer: string): Bound[] {
  if (events.length === 0) return [];
  let bytes = 0;
  const rows = events.map((event): Element[] => {
    const [row, identities] = [encodeEvent(event), identitiesOf(event) ?? []];
    const size = sizeOfEvent(row, identities, OVERHEAD);
    bytes += size;
    return [...row, event.portKey ?? null, identities.join(",") || null, size];
  });
  const statements: Bound[] = [
    { statement: APPEND, values: [events.length, now, writer, bytes, ...toColumns(rows, MORE_COLUMNS.length)] },
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

/** Deletes events past their limits, a few for each commit. The newest event stays. */
export class EventPruner {
  readonly #limits: HistoryLimits;
  /** No event is older than this. */
  #oldestTime = 0;
  /** The size of the history after the last commit of this replica. */
  #bytes = 0;

  constructor(limits: HistoryLimits) {
    this.#limits = limits;
  }

  /** To be sent after the events, because the lock on their counter keeps two replicas from pruning the same rows. */
  plan(written: number, now: number): Bound[] {
    const { retentionMs, maxBytes } = this.#limits;
    const before = now - retentionMs;
    // The clock may have been set back since the oldest event was read.
    this.#oldestTime = Math.min(this.#oldestTime, now);
    if (this.#oldestTime >= before && this.#bytes <= maxBytes) return [];
    return [
      { statement: PRUNE, values: [before, pruneLimit(written), maxBytes] },
      { statement: OLDEST_TIME, values: [] },
    ];
  }

  /** Reads the oldest event's time and the size of the history from the answers of a committed transaction. */
  observe(writes: readonly Bound[], answers: readonly (readonly Row[])[]): void {
    const index = writes.findIndex(({ statement }) => statement === OLDEST_TIME);
    const time = answers[index]?.[0]?.[0];
    if (typeof time === "number") this.#oldestTime = time;
    const bytes = answers[writes.findIndex(({ statement }) => statement === APPEND)]?.[0]?.[2];
    if (typeof bytes === "number") this.#bytes = bytes;
  }
}
