import type Database from "better-sqlite3";
import type { EventList, EventQuery, EventType, MooringEvent } from "../../contract/index.ts";
import { canonicalAddress, parseAddress } from "../../domain/address.ts";
import { deriveMacOfIpv4 } from "../../domain/mac.ts";
import { toTimestamp } from "../../domain/port-record.ts";
import type { NewEvent } from "../../domain/snapshot.ts";
import { decodeMac, encodeMac } from "./port-rows.ts";

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
  readonly #insertIdentity: Database.Statement<[string, number]>;
  readonly #deleteIdentity: Database.Statement<[string, number]>;
  readonly #oldest: Database.Statement<[number, number], PrunedRow>;
  readonly #deleteUpTo: Database.Statement<[number]>;
  /** The oldest event may have been written then or later. */
  #oldestTime = 0;
  #lastSeq: number;

  constructor(database: Database.Database, retentionMs: number) {
    this.#database = database;
    this.#retentionMs = retentionMs;
    this.#insert = database.prepare(
      `INSERT INTO events (seq, time, type, caller, port_key, port, port_id, cluster, network, host, from_host, epoch, mac,
         addresses, state, sandbox_id, owner_uid, message, former_addresses)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#insertIdentity = database.prepare("INSERT OR IGNORE INTO event_identities (value, port_key) VALUES (?, ?)");
    this.#deleteIdentity = database.prepare("DELETE FROM event_identities WHERE value = ? AND port_key = ?");
    this.#oldest = database.prepare(
      "SELECT seq, time, type, port_key, port, mac, addresses, former_addresses FROM events WHERE seq < ? ORDER BY seq LIMIT ?",
    );
    this.#deleteUpTo = database.prepare("DELETE FROM events WHERE seq <= ?");
    this.#lastSeq = this.#readLastSeq();
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** After a rollback: numbers that were given out are free again. */
  reload(): void {
    this.#lastSeq = this.#readLastSeq();
    this.#oldestTime = 0;
  }

  #readLastSeq(): number {
    return this.#database.prepare<[], number | null>("SELECT max(seq) FROM events").pluck().get() ?? 0;
  }

  append(events: readonly NewEvent[], now: number): void {
    for (const event of events) {
      this.#lastSeq++;
      this.#insert.run(
        this.#lastSeq,
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
        event.formerAddresses?.join(",") ?? null,
      );
      if (event.portKey !== undefined && BEGINNINGS.has(event.type)) {
        const { port = "", mac = "", addresses = [] } = event;
        for (const value of identitiesOf(port, mac, addresses)) this.#insertIdentity.run(value, event.portKey);
      }
    }
  }

  /** Small steps: no commit waits long for it. The newest event stays, as it holds the number to count on from. */
  prune(written: number, now: number): void {
    const cutoff = now - this.#retentionMs;
    if (this.#oldestTime >= cutoff) return;
    const rows = this.#oldest.all(this.#lastSeq, written * PRUNE_FACTOR + PRUNE_LEAST);
    this.#oldestTime = rows[0]?.time ?? now;
    const old = rows.filter(({ time }) => time < cutoff);
    for (const row of old) this.#pruneIdentities(row);
    const last = old.at(-1);
    if (last) this.#deleteUpTo.run(last.seq);
  }

  /** With its last event a life can no longer be found; with a reallocation the addresses before it. */
  #pruneIdentities({ type, port_key, port, mac, addresses, former_addresses }: PrunedRow): void {
    if (port_key === null) return;
    const forget = (value: string) => this.#deleteIdentity.run(value, port_key);
    if (type === "port.reallocated") {
      const kept = new Set(addresses?.split(","));
      for (const address of former_addresses?.split(",") ?? [])
        if (!kept.has(address)) forget(addressIdentity(address));
    }
    if (type !== "port.deleted") return;
    for (const value of identitiesOf(port ?? "", decodeMac(mac ?? 0), addresses?.split(",") ?? [])) forget(value);
  }

  read({ after = 0, host, type, port, ip, mac, limit = DEFAULT_LIMIT }: EventQuery): EventList {
    const conditions = ["e.seq > $after"];
    const address = ip === undefined ? undefined : (canonicalAddress(ip) ?? ip);
    const identity = findIdentity(port, address, mac);
    if (host !== undefined) conditions.push("(e.host = $host OR e.from_host = $host)");
    if (type !== undefined) conditions.push("e.type IN (SELECT value FROM json_each($types))");
    if (port !== undefined) conditions.push("e.port = $port");
    if (mac !== undefined) conditions.push("e.mac = $mac");
    if (address !== undefined) {
      conditions.push(
        "(',' || e.addresses || ',' LIKE $address OR ',' || coalesce(e.former_addresses, '') || ',' LIKE $address)",
      );
    }
    const from =
      identity === undefined
        ? "events AS e"
        : "event_identities AS i CROSS JOIN events AS e ON e.port_key = i.port_key";
    if (identity !== undefined) conditions.push("i.value = $identity");
    const rows = this.#database
      .prepare<unknown[], EventRow>(
        `SELECT e.* FROM ${from} WHERE ${conditions.join(" AND ")} ORDER BY e.seq LIMIT $limit`,
      )
      .all({
        after,
        limit: Math.min(limit, MAX_LIMIT),
        ...(host !== undefined && { host }),
        ...(type !== undefined && { types: JSON.stringify(type) }),
        ...(port !== undefined && { port }),
        ...(mac !== undefined && { mac: encodeMac(mac) }),
        ...(address !== undefined && { address: `%,${address},%` }),
        ...(identity !== undefined && { identity }),
      });
    return { events: rows.map(toEvent), lastSeq: this.#lastSeq };
  }
}

type PrunedRow = Pick<EventRow, "seq" | "time" | "type" | "port" | "mac" | "addresses"> & {
  port_key: number | null;
  former_addresses: string | null;
};

const BEGINNINGS: ReadonlySet<EventType> = new Set(["port.created", "port.reallocated"]);

/** A MAC that follows from the IPv4 address needs no entry of its own. */
function identitiesOf(port: string, mac: string, addresses: readonly string[]): string[] {
  const values = [nameIdentity(port), ...addresses.map(addressIdentity)];
  if (ipv4OfMac(mac) === undefined) values.push(macIdentity(mac));
  return values;
}

function ipv4OfMac(mac: string): string | undefined {
  const address = mac
    .split(":")
    .slice(2)
    .map(pair => Number.parseInt(pair, 16))
    .join(".");
  const parsed = parseAddress(address);
  return parsed && deriveMacOfIpv4(parsed.value) === mac ? address : undefined;
}

function findIdentity(port?: string, address?: string, mac?: string): string | undefined {
  if (port !== undefined) return nameIdentity(port);
  if (address !== undefined) return addressIdentity(address);
  if (mac === undefined) return undefined;
  const ipv4 = ipv4OfMac(mac.toLowerCase());
  return ipv4 === undefined ? macIdentity(mac.toLowerCase()) : addressIdentity(ipv4);
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
