import type Database from "better-sqlite3";
import type { NewEvent } from "../../../domain/model/snapshot.ts";
import { EVENT_COLUMNS, encodeEvent, identitiesOf } from "../../event-rows.ts";
import { pruneLimit } from "../../limits.ts";
import { readExtent } from "./event-reader.ts";

const INSERTED = [...EVENT_COLUMNS, "port_key", "identities"];

interface PrunedRow {
  seq: number;
  time: number;
  identities: string | null;
}

/** The outbox and the history. The caller of `append` and `prune` holds the transaction. */
export class EventLog {
  readonly #database: Database.Database;
  readonly #retentionMs: number;
  readonly #insert: Database.Statement<unknown[]>;
  readonly #insertIdentity: Database.Statement<[string, number, number]>;
  readonly #deleteIdentity: Database.Statement<[string, number]>;
  readonly #oldest: Database.Statement<[number, number], PrunedRow>;
  readonly #deleteUpTo: Database.Statement<[number]>;
  /** No event is older than this. */
  #oldestTime = 0;
  #lastSeq: number;

  constructor(database: Database.Database, retentionMs: number) {
    this.#database = database;
    this.#retentionMs = retentionMs;
    const marks = INSERTED.map(() => "?").join(", ");
    this.#insert = database.prepare(`INSERT INTO events (${INSERTED.join(", ")}) VALUES (${marks})`);
    this.#insertIdentity = database.prepare("INSERT INTO event_identities (value, seq, port_key) VALUES (?, ?, ?)");
    this.#deleteIdentity = database.prepare("DELETE FROM event_identities WHERE value = ? AND seq = ?");
    this.#oldest = database.prepare("SELECT seq, time, identities FROM events WHERE seq < ? ORDER BY seq LIMIT ?");
    this.#deleteUpTo = database.prepare("DELETE FROM events WHERE seq <= ?");
    this.#lastSeq = this.#readLastSeq();
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Reads the counters again: after a rollback the numbers it assigned are free, after an import they have grown. */
  reload(): void {
    this.#lastSeq = this.#readLastSeq();
    this.#oldestTime = 0;
  }

  #readLastSeq(): number {
    return readExtent(this.#database).lastSeq;
  }

  append(events: readonly NewEvent[], now: number): void {
    for (const event of events) {
      const seq = ++this.#lastSeq;
      const identities = identitiesOf(event);
      this.#insert.run(seq, now, ...encodeEvent(event), event.portKey ?? null, identities?.join(",") ?? null);
      for (const value of identities ?? []) this.#insertIdentity.run(value, seq, event.portKey ?? 0);
    }
  }

  /** Deletes events past their retention, a few for each commit. The newest stays because it holds the counter. */
  prune(written: number, now: number): void {
    const cutoff = now - this.#retentionMs;
    if (this.#oldestTime >= cutoff) return;
    const rows = this.#oldest.all(this.#lastSeq, pruneLimit(written));
    this.#oldestTime = rows[0]?.time ?? now;
    const old = rows.filter(({ time }) => time < cutoff);
    for (const { seq, identities } of old) {
      for (const value of identities?.split(",") ?? []) this.#deleteIdentity.run(value, seq);
    }
    const last = old.at(-1);
    if (last) this.#deleteUpTo.run(last.seq);
  }
}
