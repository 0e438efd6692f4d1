import type { NewEvent } from "../../../domain/model/snapshot.ts";
import { encodeEvent, identitiesOf } from "../../event-rows.ts";
import { pruneLimit } from "../../limits.ts";
import { type Element, toColumns } from "../database/array-literal.ts";
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
