import type Database from "better-sqlite3";
import type { NewEvent } from "../../../domain/model/snapshot.ts";
import { EVENT_COLUMNS, encodeEvent, identitiesOf } from "../../event-rows.ts";
import { type EventOverhead, type HistoryLimits, sizeOfEvent } from "../../event-size.ts";
import { PRUNE_PROBES, pruneLimit } from "../../limits.ts";
import { readExtent } from "./event-reader.ts";

const INSERTED = [...EVENT_COLUMNS, "port_key", "identities", "bytes"];
/** Measured with 30,000 pods that were claimed, reported and released. */
const OVERHEAD: EventOverhead = { event: 82, identity: 22 };

interface PrunedRow {
  seq: number;
  time: number;
  identities: string | null;
  bytes: number;
}

/** The outbox and the history. The caller of `append` and `prune` holds the transaction. */
export class EventLog {
  readonly #database: Database.Database;
  readonly #limits: HistoryLimits;
  readonly #insert: Database.Statement<unknown[]>;
  readonly #insertIdentity: Database.Statement<[string, number, number]>;
  readonly #deleteIdentity: Database.Statement<[string, number]>;
  readonly #oldest: Database.Statement<[number, number], PrunedRow>;
  readonly #timeOf: Database.Statement<[number], number>;
  readonly #deleteUpTo: Database.Statement<[number]>;
  readonly #saveBytes: Database.Statement<[number]>;
  /** No event is older than this. */
  #oldestTime = 0;
  #lastSeq: number;
  #bytes: number;

  constructor(database: Database.Database, limits: HistoryLimits) {
    this.#database = database;
    this.#limits = limits;
    const marks = INSERTED.map(() => "?").join(", ");
    this.#insert = database.prepare(`INSERT INTO events (${INSERTED.join(", ")}) VALUES (${marks})`);
    this.#insertIdentity = database.prepare("INSERT INTO event_identities (value, seq, port_key) VALUES (?, ?, ?)");
    this.#deleteIdentity = database.prepare("DELETE FROM event_identities WHERE value = ? AND seq = ?");
    this.#oldest = database.prepare(
      "SELECT seq, time, identities, bytes FROM events WHERE seq < ? ORDER BY seq LIMIT ?",
    );
    this.#timeOf = database.prepare<[number], number>("SELECT time FROM events WHERE seq = ?").pluck();
    this.#deleteUpTo = database.prepare("DELETE FROM events WHERE seq <= ?");
    this.#saveBytes = database.prepare("UPDATE store_state SET event_bytes = ?");
    this.#lastSeq = this.#readLastSeq();
    this.#bytes = this.#readBytes();
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Reads the counters again: after a rollback the numbers it assigned are free, after an import they have grown. */
  reload(): void {
    this.#lastSeq = this.#readLastSeq();
    this.#bytes = this.#readBytes();
    this.#oldestTime = 0;
  }

  #readLastSeq(): number {
    return readExtent(this.#database).lastSeq;
  }

  #readBytes(): number {
    return this.#database.prepare<[], number>("SELECT event_bytes FROM store_state").pluck().get() ?? 0;
  }

  append(events: readonly NewEvent[], now: number): void {
    for (const event of events) {
      const seq = ++this.#lastSeq;
      const identities = identitiesOf(event) ?? [];
      const row = encodeEvent(event);
      const bytes = sizeOfEvent(row, identities, OVERHEAD);
      this.#insert.run(seq, now, ...row, event.portKey ?? null, identities.join(",") || null, bytes);
      for (const value of identities) this.#insertIdentity.run(value, seq, event.portKey ?? 0);
      this.#bytes += bytes;
    }
    if (events.length > 0) this.#saveBytes.run(this.#bytes);
  }

  /** Deletes events past their limits, a few for each commit. The newest stays because it holds the counter. */
  prune(written: number, now: number): void {
    const cutoff = now - this.#limits.retentionMs;
    // The clock may have been set back since the oldest event was read.
    this.#oldestTime = Math.min(this.#oldestTime, now);
    if (this.#oldestTime >= cutoff && this.#bytes <= this.#limits.maxBytes) return;
    const rows = this.#oldest.all(this.#lastSeq, pruneLimit(written));
    const expired = this.#findExpired(rows, cutoff);
    this.#oldestTime = expired.oldestTime ?? now;
    let last: number | undefined;
    for (const row of rows) {
      if (row.seq > expired.upTo && this.#bytes <= this.#limits.maxBytes) break;
      this.#deleteIdentities(row);
      last = row.seq;
    }
    if (last !== undefined) this.#finishDeletion(last);
  }

  /** Deletes the oldest events, except so many of the newest. Returns how many. The caller holds the transaction. */
  deleteOldest(count: number, kept: number): number {
    const rows = this.#oldest.all(this.#lastSeq - kept, count);
    for (const row of rows) this.#deleteIdentities(row);
    const last = rows.at(-1);
    if (last) this.#finishDeletion(last.seq);
    return rows.length;
  }

  #deleteIdentities({ seq, identities, bytes }: PrunedRow): void {
    for (const value of identities?.split(",") ?? []) this.#deleteIdentity.run(value, seq);
    this.#bytes -= bytes;
  }

  #finishDeletion(lastSeq: number): void {
    this.#deleteUpTo.run(lastSeq);
    this.#saveBytes.run(this.#bytes);
  }

  /**
   * Finds the newest event before the cutoff, among the oldest ones and at growing distances from them: those in front of
   * it are as old despite their times, because the clock may have been ahead when they were written.
   */
  #findExpired(rows: readonly PrunedRow[], cutoff: number): { upTo: number; oldestTime: number | undefined } {
    const [first] = rows;
    let [upTo, oldestTime] = [0, first?.time];
    const observe = (seq: number, time: number | undefined) => {
      if (time === undefined) return;
      oldestTime = Math.min(oldestTime ?? time, time);
      if (time < cutoff) upTo = Math.max(upTo, seq);
    };
    for (const { seq, time } of rows) observe(seq, time);
    for (let probe = 0; first && probe < PRUNE_PROBES; probe++) {
      const seq = first.seq + 2 ** probe;
      if (seq > this.#lastSeq) break;
      observe(seq, this.#timeOf.get(seq));
    }
    return { upTo, oldestTime };
  }
}
