import { randomUUID } from "node:crypto";
import type {
  Cluster,
  EventList,
  EventQuery,
  ImportResponse,
  Network,
  Port,
  PortList,
  PortQuery,
  PutNetworkResponse,
  TransferEnd,
} from "../../contract/index.ts";
import { type ClusterChange, planClusterChange } from "../../domain/clusters/change-cluster.ts";
import { type Catalog, toNetwork } from "../../domain/model/catalog.ts";
import type { Duty } from "../../domain/model/leadership.ts";
import type { Item, Mutation, Outcome } from "../../domain/model/mutation.ts";
import { toPort } from "../../domain/model/port-record.ts";
import type { NewEvent } from "../../domain/model/snapshot.ts";
import type { ReuseTimes } from "../../domain/networks/cooling.ts";
import { applyEdit, type NetworkEdit } from "../../domain/networks/network-edit.ts";
import { planRecoveryChange, type RecoveryChange } from "../../domain/recovery/change-recovery.ts";
import type { RecoveryState } from "../../domain/recovery/recovery-state.ts";
import type { Finding, Store } from "../../domain/store.ts";
import type { TransferRow } from "../../domain/transfer/transfer.ts";
import { countDeleted, expireItems, networkEvents } from "../commit.ts";
import { EventNotifier } from "../event-notifier.ts";
import { findNetwork, findUnchanged } from "../network-plan.ts";
import { identityOf, portNotFound } from "../port-query.ts";
import { buildContext, historyLimitsOf, reuseTimesOf } from "../store-options.ts";
import { checkStore } from "./check/check-store.ts";
import { TIMEOUTS } from "./database/connect.ts";
import { DiskSpaceProbe } from "./database/disk-space-probe.ts";
import { toIpamError } from "./database/errors.ts";
import { parsePostgresUrl } from "./database/postgres-url.ts";
import { Primary } from "./database/primary.ts";
import { Reader } from "./database/reader.ts";
import type { Bound, Send } from "./database/statement.ts";
import { type TransactionPlan, Writer } from "./database/writer.ts";
import { prepareDatabase } from "./history/prepare-database.ts";
import { CatalogCache } from "./replicas/catalog-cache.ts";
import { EventListener } from "./replicas/event-listener.ts";
import { LEADERSHIP_TIMES, Leadership } from "./replicas/leadership.ts";
import { loadUpdatedCatalog, NEXT_REVISION } from "./replicas/updated-catalog.ts";
import { type CatalogState, loadCatalog, readState, type VersionedCatalog } from "./rows/catalog-rows.ts";
import { BatchDecider, type Decided } from "./statements/batch-decider.ts";
import { readClusters, writeCluster } from "./statements/cluster-table.ts";
import { EventPruner, lastSeqOf, planEvents, readUsage } from "./statements/event-log.ts";
import { readEvents } from "./statements/event-reader.ts";
import { findExpired } from "./statements/expiry.ts";
import { deleteNetwork, putNetwork } from "./statements/network-writer.ts";
import { findKeys, readConflicts, readPort, readPorts } from "./statements/port-reader.ts";
import { writeRecovery } from "./statements/recovery-column.ts";
import { DEFAULT_EVENT_BYTES, type PostgresStoreOptions, RETRY_FOR_MS } from "./store-options.ts";
import { Transfers } from "./transfer/transfers.ts";

/**
 * Connects, and creates or migrates the tables. Rejects with IpamError `unavailable`, which names the database and the
 * remedy but never the password.
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  const clock = options.clock ?? Date.now;
  const primary = new Primary(parsePostgresUrl(options.url), { ...TIMEOUTS, ...options.timeouts });
  try {
    await prepareDatabase(primary, clock(), options.onPromotion ?? (() => {}));
    const retryForMs = options.retryForMs ?? RETRY_FOR_MS;
    await using stack = new AsyncDisposableStack();
    const reader = stack.use(new Reader(primary, options.readers ?? 4, retryForMs));
    await new DiskSpaceProbe(reader, clock).probe();
    const writer = stack.use(new Writer(primary, { clock, retryForMs, failpoint: options.failpoint }));
    const catalog = await loadUpdatedCatalog(reader, writer);
    const store = new PostgresStore(primary, reader, writer, catalog, options, clock);
    await store.listening;
    stack.move();
    return store;
  } catch (error) {
    throw toIpamError(error, primary.name);
  }
}

/**
 * One of several replicas on a database. Changes use one connection (`Writer`), reads a few others (`Reader`). The
 * networks are cached and compared by revision in every transaction; locked subnets bring their counters and cursors.
 */
class PostgresStore implements Store {
  readonly #primary: Primary;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #listener: EventListener;
  readonly #notifier: EventNotifier;
  readonly #decider: BatchDecider;
  readonly #networks: CatalogCache;
  readonly #pruner: EventPruner;
  readonly #diskSpace: DiskSpaceProbe;
  readonly #transfers: Transfers;
  readonly #options: PostgresStoreOptions;
  readonly #clock: () => number;
  readonly #id = randomUUID();

  constructor(
    primary: Primary,
    reader: Reader,
    writer: Writer,
    catalog: VersionedCatalog,
    options: PostgresStoreOptions,
    clock: () => number,
  ) {
    this.#primary = primary;
    this.#reader = reader;
    this.#writer = writer;
    this.#networks = new CatalogCache(reader, catalog);
    this.#options = options;
    this.#clock = clock;
    this.#decider = new BatchDecider(work => reader.write(work));
    this.#pruner = new EventPruner(historyLimitsOf(options, DEFAULT_EVENT_BYTES));
    const { retryForMs = RETRY_FOR_MS, failpoint } = options;
    this.#transfers = new Transfers(primary, { clock, retryForMs, failpoint }, this.#id);
    this.#diskSpace = new DiskSpaceProbe(reader, clock);
    this.#notifier = new EventNotifier();
    this.#listener = new EventListener(primary, {
      pollMs: options.pollMs,
      onSeq: (lastSeq, writerId) => {
        if (writerId !== undefined && writerId !== this.#id) this.#decider.invalidateCounters();
        this.#notifier.notify(lastSeq);
      },
    });
  }

  get listening(): Promise<void> {
    return this.#listener.ready;
  }

  readonly commit = (batch: readonly Mutation[]) => this.#decideAndApply(batch);

  async #decideAndApply(batch: readonly Item[]): Promise<Outcome[]> {
    this.#transfers.gate.assertNotImporting();
    const context = buildContext(this.#options, this.#clock());
    const run = this.#decider.begin(batch, context);
    const decideOn = async (send: Send): Promise<TransactionPlan<{ outcomes: Outcome[]; decision: Decided }>> => {
      const decision = await run(send, this.#networks.known);
      if (decision === "stale") await this.#networks.reload(send);
      if (decision === "stale" || decision === "again") return "again";
      const { outcomes, statements, events } = decision;
      return { writes: [...statements, ...this.#planEvents(events, context.now)], result: { outcomes, decision } };
    };
    const outcome = await this.#diskSpace.observe(() => this.#writer.transact("read", decideOn));
    outcome.result.decision.updateCatalog();
    this.#notify(outcome.writes, outcome.answers);
    return outcome.result.outcomes;
  }

  #planEvents(events: readonly NewEvent[], now: number): Bound[] {
    if (events.length === 0) return [];
    return [...planEvents(events, now, this.#id), ...this.#pruner.plan(events.length, now)];
  }

  #notify(writes: readonly Bound[], answers: Parameters<typeof lastSeqOf>[1]): void {
    this.#pruner.observe(writes, answers);
    const lastSeq = lastSeqOf(writes, answers);
    if (lastSeq !== undefined) this.#notifier.notify(lastSeq);
  }

  async putNetwork(edit: NetworkEdit, caller: string): Promise<PutNetworkResponse> {
    // The lock excludes all claims, so that a declaration without a change does not get it.
    const unchanged = findUnchanged(edit, await this.#readCatalog());
    if (unchanged) return unchanged;
    const change = await this.#changeNetworks(async (send, catalog, times) => {
      const manifest = applyEdit(edit, catalog.networks);
      const network = manifest.metadata.name;
      const planned = await putNetwork(send, manifest, catalog, times);
      return { events: networkEvents(planned, network, caller), result: { ...planned, network } };
    });
    return { network: await this.readNetwork(change.network), outcome: change.outcome, changes: change.changes };
  }

  async deleteNetwork(name: string, caller: string): Promise<void> {
    await this.#changeNetworks(async (send, catalog, times) => {
      await deleteNetwork(send, name, catalog, times);
      return { events: [{ type: "network.deleted", caller, network: name }], result: undefined };
    });
  }

  /** The lock excludes every other decision, so that the catalog read here is current. */
  async #changeNetworks<T>(
    change: (send: Send, catalog: Catalog, times: ReuseTimes) => Promise<{ events: NewEvent[]; result: T }>,
  ): Promise<T> {
    this.#transfers.gate.assertNotImporting();
    const now = this.#clock();
    const { result, writes, answers } = await this.#writer.transact("change", async send => {
      const { catalog } = await loadCatalog(send);
      const { events, result } = await change(send, catalog, reuseTimesOf(this.#options, now));
      if (events.length === 0) return { writes: [], result };
      return { writes: [{ statement: NEXT_REVISION, values: [] }, ...this.#planEvents(events, now)], result };
    });
    this.#notify(writes, answers);
    if (writes.length > 0) await this.#networks.refresh();
    return result;
  }

  async changeCluster(name: string, change: ClusterChange, caller: string): Promise<Cluster | undefined> {
    const plan = (clusters: Cluster[]) => planClusterChange(name, change, clusters, this.#clock(), caller);
    const { after, event } = plan(await this.readClusters());
    // The lock excludes all claims, so that a registration without a change does not get it.
    if (!event) return after;
    return this.#changeNetworks(async send => {
      const { after: result, event: written } = plan(await readClusters(send));
      if (written) await writeCluster(send, name, result);
      return { events: written ? [written] : [], result };
    });
  }

  async changeRecovery(change: RecoveryChange, caller: string): Promise<RecoveryState | undefined> {
    const now = this.#clock();
    const plan = (state: CatalogState) => planRecoveryChange(state.recovery, change, now, caller);
    const { after, isChanged } = plan(await this.#read(readState));
    if (!isChanged) return after;
    const { result, writes, answers } = await this.#writer.transact("change", async send => {
      const { after: result, events } = plan(await readState(send));
      return { writes: [writeRecovery(result), ...this.#planEvents(events, now)], result };
    });
    this.#notify(writes, answers);
    return result;
  }

  readonly readClusters = (): Promise<Cluster[]> => this.#read(readClusters);

  async #readCatalog(): Promise<Catalog> {
    this.#transfers.gate.assertNotImporting();
    return this.#networks.refresh();
  }

  readonly readNetworks = async (): Promise<Network[]> => (await this.#readCatalog()).networks.map(toNetwork);

  readonly readNetwork = async (name: string): Promise<Network> => findNetwork(name, await this.readNetworks());

  readonly readPorts = (query: PortQuery): Promise<PortList> =>
    this.#read((send, catalog) => readPorts(send, query, catalog));

  async readPort(name: string): Promise<Port> {
    return this.#read(async (send, catalog) => {
      const port = await readPort(send, name, catalog);
      if (!port) throw portNotFound(name);
      return toPort(port, catalog);
    });
  }

  readonly readConflicts = () => this.#read(readConflicts);

  readonly readEvents = (query: EventQuery): Promise<EventList> =>
    this.#read(async (send, catalog) => readEvents(send, query, await findKeys(send, identityOf(query), catalog)));

  #read<T>(work: (send: Send, catalog: Catalog) => Promise<T>): Promise<T> {
    this.#transfers.gate.assertNotImporting();
    return this.#networks.read(work);
  }

  onEvents(listener: (lastSeq: number) => void): () => void {
    return this.#notifier.add(listener);
  }

  async collectExpired(jumpMs?: number): Promise<number> {
    if (this.#transfers.gate.isImporting) return 0;
    const due = await this.#reader.write(send => findExpired(send, buildContext(this.#options, this.#clock()), jumpMs));
    if (due.length === 0) return 0;
    return countDeleted(await this.#decideAndApply(expireItems(due)));
  }

  lead(duty: Duty): AsyncDisposable {
    return new Leadership(this.#primary, duty, { ...LEADERSHIP_TIMES, ...this.#options.leadership });
  }

  async ready(): Promise<void> {
    this.#transfers.gate.assertNotImporting();
    await this.#diskSpace.probe();
  }

  readonly readUsage = () => this.#reader.read(readUsage);

  async check(): Promise<Finding[]> {
    this.#transfers.gate.assertNotImporting();
    return this.#reader.readLong(async send => checkStore(send, (await loadCatalog(send)).catalog));
  }

  readonly exportRows = () => this.#transfers.exportRows();

  async importRows(rows: AsyncIterable<TransferRow | TransferEnd>): Promise<ImportResponse> {
    const { response, lastSeq } = await this.#transfers.importRows(rows);
    await this.#networks.refresh();
    this.#notifier.notify(lastSeq);
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#notifier.clear();
    this.#transfers[Symbol.dispose]();
    await this.#writer[Symbol.asyncDispose]();
    await this.#listener[Symbol.asyncDispose]();
    await this.#reader[Symbol.asyncDispose]();
  }
}
