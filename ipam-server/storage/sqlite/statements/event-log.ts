import type Database from "better-sqlite3";
import type { EventList, EventQuery, EventType, MooringEvent } from "../../../contract/index.ts";
import { canonicalAddress } from "../../../domain/model/address.ts";
import { toTimestamp } from "../../../domain/model/port-record.ts";
import type { NewEvent } from "../../../domain/model/snapshot.ts";
import { decodeMac, encodeMac } from "../rows/port-rows.ts";

interface EventRow {
  seq: number;
  time: number;
  type: EventType;
  caller: string;
  port: string | null;
  port_id: string | null;
  cluster: string | null;
  network: string | null;
  host: string | null;
  from_host: string | null;
  epoch: number | null;
  mac: number | null;
  addresses: string | null;
  state: string | null;
  sandbox_id: string | null;
  owner_uid: string | null;
  message: string | null;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
/** Each commit clears away at most this many times the events it wrote, and this many more. */
const PRUNE_FACTOR = 2;
const PRUNE_LEAST = 16;

const nameIdentity = (name: string) => `name ${name}`;
const addressIdentity = (address: string) => `ip ${address}`;
const macIdentity = (mac: string) => `mac ${mac}`;

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
  /** The oldest event may have been written then or later. */
  #oldestTime = 0;
  /** Events up to here are of a time before this database was restored or imported, or not in it at all. */
  #floor: number;
  #lastSeq: number;

  constructor(database: Database.Database, retentionMs: number) {
    this.#database = database;
    this.#retentionMs = retentionMs;
    this.#insert = database.prepare(
      `INSERT INTO events (seq, time, type, caller, port_key, port, port_id, cluster, network, host, from_host, epoch, mac,
         addresses, state, sandbox_id, owner_uid, message, identities)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
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

  /** After a rollback: numbers that were given out are free again. */
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

  /** What is kept from before the floor is history, not something that a reader could go on from. */
  #readOldestSeq(): number {
    return Math.max(this.#first.get() ?? this.#lastSeq + 1, this.#floor + 1);
  }

  append(events: readonly NewEvent[], now: number): void {
    for (const event of events) {
      const seq = ++this.#lastSeq;
      const identities = identitiesOf(event);
      this.#insert.run(
        seq,
        now,
        event.type,
        event.caller,
        event.portKey ?? null,
        event.port ?? null,
        event.portId ?? null,
        event.cluster ?? null,
        event.network ?? null,
        event.host ?? null,
        event.fromHost ?? null,
        event.epoch ?? null,
        event.mac === undefined ? null : encodeMac(event.mac),
        event.addresses?.join(",") ?? null,
        event.state ?? null,
        event.sandboxId ?? null,
        event.ownerUid ?? null,
        event.message ?? null,
        identities?.join(",") ?? null,
      );
      for (const value of identities ?? []) this.#insertIdentity.run(value, seq, event.portKey ?? 0);
    }
  }

  /** Small steps: no commit waits long for it. The newest event stays, as it holds the number to count on from. */
  prune(written: number, now: number): void {
    const cutoff = now - this.#retentionMs;
    if (this.#oldestTime >= cutoff) return;
    const rows = this.#oldest.all(this.#lastSeq, written * PRUNE_FACTOR + PRUNE_LEAST);
    this.#oldestTime = rows[0]?.time ?? now;
    const old = rows.filter(({ time }) => time < cutoff);
    for (const { seq, identities } of old) {
      for (const value of identities?.split(",") ?? []) this.#deleteIdentity.run(value, seq);
    }
    const last = old.at(-1);
    if (last) this.#deleteUpTo.run(last.seq);
  }

  /** `livePorts`: the keys of the ports that have the name, address or MAC asked for now. */
  read(query: EventQuery, livePorts: readonly number[], upTo?: number): EventList {
    const { after = 0, host, type, port, ip, mac, limit = DEFAULT_LIMIT } = query;
    const conditions = ["seq > $after"];
    const values: Record<string, unknown> = { after, limit: Math.min(limit, MAX_LIMIT) };
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
    const rows = this.#database
      .prepare<unknown[], EventRow>(`SELECT * FROM events WHERE ${conditions.join(" AND ")} ORDER BY seq LIMIT $limit`)
      .all(values);
    return { events: rows.map(toEvent), lastSeq: this.#lastSeq, oldestSeq: this.#readOldestSeq() };
  }
}

interface PrunedRow {
  seq: number;
  time: number;
  identities: string | null;
}

/**
 * What a port no longer is or has from this event on, so that its life is still found by it; live ports are found by
 * their own tables. Names have no comma (§ claims), so a list of these is joined by commas.
 */
function identitiesOf(event: NewEvent): string[] | undefined {
  const { type, port = "", mac = "", addresses = [], former } = event;
  if (type === "port.deleted") {
    return [nameIdentity(port), macIdentity(mac), ...addresses.map(addressIdentity)];
  }
  return former && [macIdentity(former.mac), ...former.addresses.map(addressIdentity)];
}

function findIdentity({ port, ip, mac }: EventQuery): string | undefined {
  if (port !== undefined) return nameIdentity(port);
  if (ip !== undefined) return addressIdentity(canonicalAddress(ip) ?? ip);
  return mac === undefined ? undefined : macIdentity(mac.toLowerCase());
}

function toEvent(row: EventRow): MooringEvent {
  const event: MooringEvent = { seq: row.seq, time: toTimestamp(row.time), type: row.type, caller: row.caller };
  if (row.port !== null) event.port = row.port;
  if (row.port_id !== null) event.portId = row.port_id;
  if (row.cluster !== null) event.cluster = row.cluster;
  if (row.network !== null) event.network = row.network;
  if (row.host !== null) event.host = row.host;
  if (row.from_host !== null) event.fromHost = row.from_host;
  if (row.epoch !== null) event.epoch = row.epoch;
  if (row.mac !== null) event.mac = decodeMac(row.mac);
  if (row.addresses !== null) event.addresses = row.addresses.split(",");
  if (row.state !== null) event.state = row.state;
  if (row.sandbox_id !== null) event.sandboxId = row.sandbox_id;
  if (row.owner_uid !== null) event.ownerUid = row.owner_uid;
  if (row.message !== null) event.message = row.message;
  return event;
}
