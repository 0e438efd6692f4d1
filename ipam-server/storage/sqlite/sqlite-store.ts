import type Database from "better-sqlite3";
import {
  type Cluster,
  type EventQuery,
  type ImportResponse,
  IpamError,
  type Network,
  type PortQuery,
  type PutNetworkResponse,
  type TransferEnd,
} from "../../contract/index.ts";
import { type ClusterChange, planClusterChange } from "../../domain/clusters/change-cluster.ts";
import { type Catalog, toNetwork } from "../../domain/model/catalog.ts";
import { type Duty, leadAlone } from "../../domain/model/leadership.ts";
import type { Item, Mutation, Outcome } from "../../domain/model/mutation.ts";
import type { NewEvent } from "../../domain/model/snapshot.ts";
import { applyEdit, type NetworkEdit } from "../../domain/networks/network-edit.ts";
import { planRecoveryChange, type RecoveryChange } from "../../domain/recovery/change-recovery.ts";
import type { RecoveryState } from "../../domain/recovery/recovery-state.ts";
import type { Finding, Store } from "../../domain/store.ts";
import type { TransferRow } from "../../domain/transfer/transfer.ts";
import { countDeleted, expireItems, hasChanges, networkEvents, updateCatalog } from "../commit.ts";
import { EventNotifier } from "../event-notifier.ts";
import { findNetwork } from "../network-plan.ts";
import { buildContext, historyLimitsOf, reuseDelayOf, reuseTimesOf } from "../store-options.ts";
import { DiskSpace } from "./database/disk-space.ts";
import { defaultEventBytes } from "./database/disk-usage.ts";
import { noSpaceForRead, toIpamError } from "./database/errors.ts";
import { FileIdentity } from "./database/file-identity.ts";
import { openShared } from "./database/open-database.ts";
import { LongReads } from "./reads/long-reads.ts";
import { StoreReads } from "./reads/store-reads.ts";
import { loadCatalog } from "./rows/catalog-rows.ts";
import { decideBatch } from "./statements/batch-decider.ts";
import { readClusters, writeCluster } from "./statements/cluster-table.ts";
import { readConflicts } from "./statements/conflict-reader.ts";
import { EventLog } from "./statements/event-log.ts";
import { findExpired } from "./statements/expiry.ts";
import { NetworkWriter } from "./statements/network-writer.ts";
import { readRecovery, writeRecovery } from "./statements/recovery-column.ts";
import { SnapshotLoader } from "./statements/snapshot-loader.ts";
import { WriteApplier } from "./statements/write-applier.ts";
import type { SqliteStoreOptions } from "./store-options.ts";
import { removeOldCopies } from "./transfer/copy-database.ts";
import { Transfers } from "./transfer/transfers.ts";

/** Opens or creates the database. Rejects with IpamError `unavailable`, which names the file and the remedy. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const clock = options.clock ?? Date.now;
  const { database, lock } = openShared(options.path, clock());
  await removeOldCopies(options.path);
  return new SqliteStore(database, lock, options, clock);
}

/**
 * One process, one connection that writes, synchronous statements. Nothing else changes the database between its awaits,
 * so the catalog (networks, counters, cursors) stays in memory and a batch only reads ports. Other threads read.
 */
class SqliteStore implements Store {
  readonly #database: Database.Database;
  readonly #lock: Disposable;
  readonly #longReads: LongReads;
  readonly #reads: StoreReads;
  readonly #file: FileIdentity;
  readonly #space: DiskSpace;
  readonly #options: SqliteStoreOptions;
  readonly #clock: () => number;
  readonly #loader: SnapshotLoader;
  readonly #applier: WriteApplier;
  readonly #events: EventLog;
  readonly #networks: NetworkWriter;
  readonly #transfers: Transfers;
  readonly #notifier = new EventNotifier();
  #catalog: Catalog;
  #nextPortKey: number;
  #minimumEpoch: number;
  #recovery: RecoveryState | undefined;

  constructor(database: Database.Database, lock: Disposable, options: SqliteStoreOptions, clock: () => number) {
    this.#database = database;
    this.#lock = lock;
    this.#longReads = new LongReads(database);
    this.#file = new FileIdentity(options.path);
    this.#options = options;
    this.#clock = clock;
    this.#loader = new SnapshotLoader(database);
    this.#applier = new WriteApplier(database);
    this.#events = new EventLog(database, historyLimitsOf(options, defaultEventBytes(options.path)));
    this.#space = new DiskSpace({
      database,
      events: this.#events,
      stopReads: () => this.#longReads.stop(noSpaceForRead(options.path)),
      warn: message => options.onLowSpace?.(message),
    });
    this.#reads = new StoreReads({
      database,
      loader: this.#loader,
      longReads: this.#longReads,
      readCatalog: () => this.#catalog,
      guard: read => this.#guard(read),
    });
    this.#networks = new NetworkWriter(database);
    this.#transfers = new Transfers(database, this.#longReads);
    this.#catalog = loadCatalog(database);
    this.#nextPortKey = this.#readState("next_port_key");
    this.#minimumEpoch = this.#readState("epoch_floor");
    this.#recovery = readRecovery(database);
  }

  async commit(batch: readonly Mutation[]): Promise<Outcome[]> {
    return this.#decideAndApply(batch);
  }

  #decideAndApply(batch: readonly Item[]): Outcome[] {
    return this.#guard(() => {
      const added = { minimumEpoch: this.#minimumEpoch, recovery: this.#recovery };
      const context = { ...buildContext(this.#options, this.#clock()), ...added };
      // Reads in the transaction too, because each statement outside of one locks the file for itself.
      const { outcomes, writes } = this.#transact(() => {
        const decision = decideBatch(batch, context, this.#loader, this.#catalog, this.#nextPortKey);
        if (hasChanges(decision.writes)) {
          this.#applier.apply(decision.writes, this.#catalog, this.#failpoint);
          this.#append(decision.writes.events, context.now);
        }
        return decision;
      });
      if (hasChanges(writes)) {
        updateCatalog(writes, this.#catalog);
        this.#nextPortKey = writes.nextPortKey ?? this.#nextPortKey;
        this.#notifier.notify(this.#events.lastSeq);
      }
      return outcomes;
    });
  }

  #append(events: readonly NewEvent[], now: number): void {
    this.#events.append(events, now);
    this.#failpoint("events");
    this.#events.prune(events.length, now);
    this.#applier.deleteUnpooled(now - reuseDelayOf(this.#options));
    this.#failpoint("commit");
  }

  async putNetwork(edit: NetworkEdit, caller: string): Promise<PutNetworkResponse> {
    return this.#guard(() => {
      const now = this.#clock();
      const manifest = applyEdit(edit, this.#catalog.networks);
      const network = manifest.metadata.name;
      const change = this.#transact(() => {
        const planned = this.#networks.put(manifest, this.#catalog, reuseTimesOf(this.#options, now));
        const events = networkEvents(planned, network, caller);
        if (events.length > 0) this.#append(events, now);
        return planned;
      });
      if (change.outcome !== "unchanged") {
        this.#catalog = loadCatalog(this.#database);
        this.#notifier.notify(this.#events.lastSeq);
      }
      return { network: this.#network(network), outcome: change.outcome, changes: change.changes };
    });
  }

  async deleteNetwork(name: string, caller: string): Promise<void> {
    this.#guard(() => {
      const now = this.#clock();
      this.#transact(() => {
        this.#networks.delete(name, this.#catalog, reuseTimesOf(this.#options, now));
        this.#append([{ type: "network.deleted", caller, network: name }], now);
      });
      this.#catalog = loadCatalog(this.#database);
      this.#notifier.notify(this.#events.lastSeq);
    });
  }

  async changeCluster(name: string, change: ClusterChange, caller: string): Promise<Cluster | undefined> {
    return this.#guard(() => {
      const now = this.#clock();
      const { after, event } = planClusterChange(name, change, readClusters(this.#database), now, caller);
      if (event) this.#write([event], now, () => writeCluster(this.#database, name, after));
      return after;
    });
  }

  async changeRecovery(change: RecoveryChange, caller: string): Promise<RecoveryState | undefined> {
    return this.#guard(() => {
      const now = this.#clock();
      const { after, isChanged, events } = planRecoveryChange(this.#recovery, change, now, caller);
      if (isChanged) this.#write(events, now, () => writeRecovery(this.#database, after));
      this.#recovery = after;
      return after;
    });
  }

  #write(events: readonly NewEvent[], now: number, work: () => void): void {
    this.#transact(() => {
      work();
      if (events.length > 0) this.#append(events, now);
    });
    this.#notifier.notify(this.#events.lastSeq);
  }

  readonly readClusters = async (): Promise<Cluster[]> => this.#guard(() => readClusters(this.#database));

  async readNetworks(): Promise<Network[]> {
    return this.#catalog.networks.map(toNetwork);
  }

  async readNetwork(name: string): Promise<Network> {
    return this.#network(name);
  }

  #network(name: string): Network {
    return toNetwork(findNetwork(name, this.#catalog.networks));
  }

  readonly readPorts = (query: PortQuery) => this.#reads.readPorts(query);
  readonly readPort = (name: string) => this.#reads.readPort(name);
  readonly readEvents = (query: EventQuery) => this.#reads.readEvents(query);
  readonly readConflicts = async () => this.#guard(() => readConflicts(this.#database, this.#catalog));

  onEvents(listener: (lastSeq: number) => void): () => void {
    return this.#notifier.add(listener);
  }

  async collectExpired(jumpMs?: number): Promise<number> {
    await this.#space.maintain();
    if (this.#transfers.gate.isImporting) return 0;
    const context = buildContext(this.#options, this.#clock());
    const due = this.#guard(() => findExpired(this.#database, context, jumpMs));
    if (due.length === 0) return 0;
    return countDeleted(this.#decideAndApply(expireItems(due)));
  }

  lead(duty: Duty): AsyncDisposable {
    return leadAlone(this.#readState("opened_at"), duty);
  }

  async ready(): Promise<void> {
    this.#guard(() => {
      this.#transact(() => this.#database.prepare("UPDATE store_state SET next_port_key = next_port_key").run());
      this.#space.assertFree();
    });
  }

  readonly readUsage = async () => this.#space.readUsage();

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
      this.#minimumEpoch = this.#readState("epoch_floor");
      this.#notifier.notify(this.#events.lastSeq);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#notifier.clear();
    await this.#longReads[Symbol.asyncDispose]();
    this.#database.close();
    this.#lock[Symbol.dispose]();
  }

  #transact<T>(work: () => T): T {
    this.#file.assertUnchanged();
    return this.#space.transact(work);
  }

  #guard<T>(work: () => T): T {
    if (!this.#database.open) throw new IpamError("unavailable", "the store is closed");
    this.#transfers.gate.assertNotImporting();
    try {
      return work();
    } catch (error) {
      this.#space.observeFailure(error);
      throw toIpamError(error, this.#options.path);
    }
  }

  readonly #failpoint = (step: string): void => this.#options.failpoint?.(step);

  #readState(column: "next_port_key" | "epoch_floor" | "opened_at"): number {
    return this.#database.prepare<[], number>(`SELECT ${column} FROM store_state`).pluck().get() ?? 1;
  }
}
