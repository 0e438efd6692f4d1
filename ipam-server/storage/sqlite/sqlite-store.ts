import { randomUUID } from "node:crypto";
import type Database from "better-sqlite3";
import {
  type EventList,
  type EventQuery,
  type ImportResponse,
  IpamError,
  type Network,
  type Port,
  type PortList,
  type PortQuery,
  type PutNetworkResponse,
  type TransferEnd,
} from "../../contract/index.ts";
import { decide } from "../../domain/decide/decide.ts";
import type { DecisionContext } from "../../domain/decide/decision-scope.ts";
import { LEASE_MS } from "../../domain/decide/decision-scope.ts";
import { type Catalog, toNetwork } from "../../domain/model/catalog.ts";
import { type Duty, leadAlone } from "../../domain/model/leadership.ts";
import type { Item, Mutation, Outcome } from "../../domain/model/mutation.ts";
import { planAllocations, planNeeds } from "../../domain/model/needs.ts";
import { toPort } from "../../domain/model/port-record.ts";
import type { NewEvent, Writes } from "../../domain/model/snapshot.ts";
import { applyEdit, type NetworkEdit } from "../../domain/networks/network-edit.ts";
import type { Finding, Store } from "../../domain/store.ts";
import type { TransferRow } from "../../domain/transfer/transfer.ts";
import { DiskSpaceProbe } from "./database/disk-space-probe.ts";
import { toIpamError } from "./database/errors.ts";
import { FileIdentity } from "./database/file-identity.ts";
import { inTransaction } from "./database/in-transaction.ts";
import { openDatabase } from "./database/open-database.ts";
import { loadCatalog } from "./rows/catalog-rows.ts";
import { EventLog } from "./statements/event-log.ts";
import { NetworkWriter } from "./statements/network-writer.ts";
import { PortReader } from "./statements/port-reader.ts";
import { SnapshotLoader } from "./statements/snapshot-loader.ts";
import { WriteApplier } from "./statements/write-applier.ts";
import type { SqliteStoreOptions } from "./store-options.ts";
import { removeOldCopies } from "./transfer/copy-database.ts";
import { Transfers } from "./transfer/transfers.ts";

const DAY_MS = 86_400_000;
const MAX_EXPIRED_AT_ONCE = 500;
const MAX_UNPOOLED_AT_ONCE = 200;
const STORE_CALLER = "mooring-ipam";

/** Opens (or makes) the database. Throws IpamError `unavailable` that names the file and says what would be right. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const clock = options.clock ?? Date.now;
  const database = openDatabase(options.path, clock());
  await removeOldCopies(options.path);
  return new SqliteStore(database, options, clock);
}

/**
 * One process, one connection, synchronous statements: between its awaits nobody else changes anything, so the
 * catalog (networks, counters, cursors) lives in memory and only ports are read for a batch.
 */
class SqliteStore implements Store {
  readonly #database: Database.Database;
  readonly #file: FileIdentity;
  readonly #room: DiskSpaceProbe;
  readonly #options: SqliteStoreOptions;
  readonly #clock: () => number;
  readonly #loader: SnapshotLoader;
  readonly #applier: WriteApplier;
  readonly #events: EventLog;
  readonly #ports: PortReader;
  readonly #networks: NetworkWriter;
  readonly #transfers: Transfers;
  readonly #forgetUnpooled: Database.Statement<[number]>;
  readonly #listeners = new Set<(lastSeq: number) => void>();
  #catalog: Catalog;
  #nextPortKey: number;
  #epochFloor: number;

  constructor(database: Database.Database, options: SqliteStoreOptions, clock: () => number) {
    this.#database = database;
    this.#file = new FileIdentity(options.path);
    this.#room = new DiskSpaceProbe(options.path);
    this.#options = options;
    this.#clock = clock;
    this.#loader = new SnapshotLoader(database);
    this.#applier = new WriteApplier(database);
    this.#events = new EventLog(database, options.eventRetentionMs ?? 30 * DAY_MS);
    this.#ports = new PortReader(database, this.#loader);
    this.#networks = new NetworkWriter(database);
    this.#transfers = new Transfers(database);
    this.#forgetUnpooled = database.prepare(
      `DELETE FROM freed WHERE (subnet_id, offset) IN
         (SELECT subnet_id, offset FROM freed WHERE pooled = 0 AND freed_at <= ? LIMIT ${MAX_UNPOOLED_AT_ONCE})`,
    );
    this.#catalog = loadCatalog(database);
    this.#nextPortKey = this.#readState("next_port_key");
    this.#epochFloor = this.#readState("epoch_floor");
  }

  async commit(batch: readonly Mutation[]): Promise<Outcome[]> {
    return this.#decideAndApply(batch);
  }

  #decideAndApply(batch: readonly Item[]): Outcome[] {
    return this.#guard(() => {
      const context = this.#context();
      const { outcomes, writes } = this.#decide(batch, context);
      if (writes.events.length > 0 || writes.updatedPorts.length > 0) {
        this.#transact(() => {
          this.#applier.apply(writes, this.#catalog, step => this.#reach(step));
          this.#append(writes.events, context.now);
        });
        this.#remember(writes);
        this.#announce(writes.events.length);
      }
      return outcomes;
    });
  }

  #context(): DecisionContext {
    return {
      now: this.#clock(),
      reuseDelayMs: this.#options.reuseDelayMs ?? 60_000,
      leaseMs: this.#options.leaseMs ?? LEASE_MS,
      fabricManaged: this.#options.fabricManaged ?? false,
      minimumEpoch: this.#epochFloor,
      newId: randomUUID,
    };
  }

  #decide(batch: readonly Item[], context: DecisionContext): { outcomes: Outcome[]; writes: Writes } {
    const needs = planNeeds(batch, this.#catalog);
    const ports = this.#loader.loadPorts(needs, this.#catalog);
    const names = new Set(ports.map(({ name }) => name));
    const allocations = planAllocations(batch, this.#catalog, name => names.has(name));
    for (;;) {
      const snapshot = this.#loader.load(needs, allocations, ports, this.#catalog, this.#nextPortKey);
      const decision = decide(batch, snapshot, context);
      if ("outcomes" in decision) return decision;
      allocations.set(decision.missingNetworkId, batch.length);
    }
  }

  #append(events: readonly NewEvent[], now: number): void {
    this.#events.append(events, now);
    this.#reach("events");
    this.#events.prune(events.length, now);
    this.#forgetUnpooled.run(now - (this.#options.reuseDelayMs ?? 60_000));
    this.#reach("commit");
  }

  /** The catalog follows what was committed. */
  #remember(writes: Writes): void {
    for (const [pool, cursor] of writes.cursors) pool.cursor = cursor;
    for (const [id, counters] of writes.counters) Object.assign(this.#catalog.subnet(id), counters);
    this.#nextPortKey = writes.nextPortKey ?? this.#nextPortKey;
  }

  async putNetwork(wish: NetworkEdit, caller: string): Promise<PutNetworkResponse> {
    return this.#guard(() => {
      const now = this.#clock();
      const manifest = applyEdit(wish, this.#catalog.networks);
      const network = manifest.metadata.name;
      const change = this.#transact(() => {
        const planned = this.#networks.put(manifest, this.#catalog, now);
        const message = planned.changes.join("; ");
        const type = planned.outcome === "created" ? "network.created" : "network.changed";
        if (planned.outcome !== "unchanged") this.#append([{ type, caller, network, message }], now);
        return planned;
      });
      if (change.outcome !== "unchanged") {
        this.#catalog = loadCatalog(this.#database);
        this.#announce(1);
      }
      return { network: this.#network(network), outcome: change.outcome, changes: change.changes };
    });
  }

  async deleteNetwork(name: string, caller: string): Promise<void> {
    this.#guard(() => {
      this.#transact(() => {
        this.#networks.delete(name, this.#catalog);
        this.#append([{ type: "network.deleted", caller, network: name }], this.#clock());
      });
      this.#catalog = loadCatalog(this.#database);
      this.#announce(1);
    });
  }

  async readNetworks(): Promise<Network[]> {
    return this.#catalog.networks.map(toNetwork);
  }

  async readNetwork(name: string): Promise<Network> {
    return this.#network(name);
  }

  #network(name: string): Network {
    const network = this.#catalog.networks.find(candidate => candidate.name === name);
    if (!network) throw new IpamError("not_found", `there is no network ${name}`);
    return toNetwork(network);
  }

  async readPorts(query: PortQuery): Promise<PortList> {
    return this.#guard(() => this.#ports.read(query, this.#catalog));
  }

  async readPort(name: string): Promise<Port> {
    return this.#guard(() => {
      const [port] = this.#loader.loadPorts({ portNames: [name], bindings: [], slots: [] }, this.#catalog);
      if (!port) throw new IpamError("not_found", `there is no port ${name}`);
      return toPort(port, this.#catalog);
    });
  }

  async readEvents(query: EventQuery, upTo?: number): Promise<EventList> {
    return this.#guard(() => {
      const { port, ip, mac } = query;
      const asked = {
        ...(port !== undefined && { name: port }),
        ...(ip !== undefined && { ip }),
        ...(mac !== undefined && { mac }),
      };
      return this.#events.read(query, this.#ports.findKeys(asked, this.#catalog), upTo);
    });
  }

  onEvents(listener: (lastSeq: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async collectExpired(): Promise<number> {
    if (this.#transfers.gate.isImporting) return 0;
    const due = this.#guard(() =>
      this.#database
        .prepare<[number], string>(
          `SELECT name FROM ports WHERE expires_at <= ? AND host IS NULL LIMIT ${MAX_EXPIRED_AT_ONCE}`,
        )
        .pluck()
        .all(this.#clock()),
    );
    if (due.length === 0) return 0;
    const outcomes = this.#decideAndApply(due.map(name => ({ kind: "expire", name, caller: STORE_CALLER })));
    return outcomes.filter(outcome => "deleted" in outcome).length;
  }

  lead(duty: Duty): AsyncDisposable {
    return leadAlone(this.#readState("opened_at"), duty);
  }

  async ready(): Promise<void> {
    this.#guard(() => {
      this.#transact(() => this.#database.prepare("UPDATE store_state SET next_port_key = next_port_key").run());
      this.#room.probe();
    });
  }

  async check(): Promise<Finding[]> {
    return this.#guard(() => this.#transfers.check(this.#catalog));
  }

  readonly copy = () => this.#transfers.copy();
  readonly exportRows = () => this.#transfers.exportRows();

  importRows(rows: AsyncIterable<TransferRow | TransferEnd>): Promise<ImportResponse> {
    return this.#transfers.importRows(rows, () => {
      this.#events.reload();
      this.#catalog = loadCatalog(this.#database);
      this.#nextPortKey = this.#readState("next_port_key");
      this.#epochFloor = this.#readState("epoch_floor");
      this.#announce(this.#events.lastSeq);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
    this.#database.close();
  }

  #transact<T>(work: () => T): T {
    this.#file.assertUnchanged();
    try {
      return inTransaction(this.#database, work);
    } catch (error) {
      this.#events.reload();
      throw error;
    }
  }

  #guard<T>(work: () => T): T {
    if (!this.#database.open) throw new IpamError("unavailable", "the store is closed");
    this.#transfers.gate.refuseWhileImporting();
    try {
      return work();
    } catch (error) {
      this.#room.observe(error);
      throw toIpamError(error, this.#options.path);
    }
  }

  #reach(step: string): void {
    this.#options.failpoint?.(step);
  }

  #announce(events: number): void {
    if (events === 0) return;
    for (const listener of this.#listeners) queueMicrotask(() => listener(this.#events.lastSeq));
  }

  #readState(column: "next_port_key" | "epoch_floor" | "opened_at"): number {
    return this.#database.prepare<[], number>(`SELECT ${column} FROM store_state`).pluck().get() ?? 1;
  }
}
