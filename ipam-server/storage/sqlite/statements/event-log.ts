import type Database from "better-sqlite3";
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
import { pageSize, pruneLimit } from "../../limits.ts";
import { encodeMac } from "../../port-rows.ts";

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
  readonly #first: Database.Statement<[], number | null>;
  /** No event is older than this. */
  #oldestTime = 0;
  /** Events up to this number precede a restore or an import, or are missing; readers cannot resume from them. */
  #floor: number;
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
    this.#first = database.prepare<[], number | null>("SELECT min(seq) FROM events").pluck();
    this.#floor = this.#readFloor();
    this.#lastSeq = this.#readLastSeq();
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Reads the counters again: after a rollback the numbers it assigned are free, after an import they have grown. */
  reload(): void {
    this.#floor = this.#readFloor();
    this.#lastSeq = this.#readLastSeq();
    this.#oldestTime = 0;
  }

  #readLastSeq(): number {
    const newest = this.#database.prepare<[], number | null>("SELECT max(seq) FROM events").pluck().get() ?? 0;
    return Math.max(newest, this.#floor);
  }

  #readFloor(): number {
    return this.#database.prepare<[], number>("SELECT event_floor FROM store_state").pluck().get() ?? 0;
  }

  /** Events from before the floor are history: readers cannot resume from them. */
  #readOldestSeq(): number {
    return Math.max(this.#first.get() ?? this.#lastSeq + 1, this.#floor + 1);
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

  /** @param livePorts the keys of the ports that have the queried name, address or MAC now */
  read(query: EventQuery, livePorts: readonly number[], upTo?: number): EventList {
    const { after = 0, host, type, port, ip, mac, limit } = query;
    const conditions = ["seq > $after"];
    const values: Record<string, unknown> = { after, limit: pageSize(limit) };
    const add = (condition: string, more: Record<string, unknown>) => {
      conditions.push(condition);
      Object.assign(values, more);
    };
    if (upTo !== undefined) add("seq <= $upTo", { upTo });
    if (host !== undefined) add("(host = $host OR from_host = $host)", { host });
    if (type !== undefined) add("type IN (SELECT value FROM json_each($types))", { types: JSON.stringify(type) });
    const identity = findIdentity(query);
    if (identity !== undefined) {
      add(
        `port_key IN (SELECT port_key FROM event_identities WHERE value = $identity
           UNION SELECT value FROM json_each($livePorts))`,
        { identity, livePorts: JSON.stringify(livePorts) },
      );
    }
    if (port !== undefined) add("port = $port", { port });
    if (mac !== undefined) add("mac = $mac", { mac: encodeMac(mac) });
    if (ip !== undefined) {
      const address = canonicalAddress(ip) ?? ip;
      add("(',' || addresses || ',' LIKE $address OR ',' || identities || ',' LIKE $former)", {
        address: `%,${address},%`,
        former: `%,${addressIdentity(address)},%`,
      });
    }
    const columns = EVENT_COLUMNS.join(", ");
    const where = conditions.join(" AND ");
    const rows = this.#database
      .prepare<unknown[], EventRow>(`SELECT ${columns} FROM events WHERE ${where} ORDER BY seq LIMIT $limit`)
      .raw()
      .all(values);
    return { events: rows.map(decodeEvent), lastSeq: this.#lastSeq, oldestSeq: this.#readOldestSeq() };
  }
}
