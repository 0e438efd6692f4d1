import type {
  Cluster,
  Conflict,
  EventList,
  EventQuery,
  ImportResponse,
  Network,
  Port,
  PortList,
  PortQuery,
  PutNetworkResponse,
  TransferEnd,
} from "../contract/index.ts";
import type { ClusterChange } from "./clusters/change-cluster.ts";
import type { Duty } from "./model/leadership.ts";
import type { Mutation, Outcome } from "./model/mutation.ts";
import type { NetworkEdit } from "./networks/network-edit.ts";
import type { RecoveryChange } from "./recovery/change-recovery.ts";
import type { RecoveryState } from "./recovery/recovery-state.ts";
import type { TransferRow } from "./transfer/transfer.ts";

/** A violated invariant of the store, found by `check`. */
export interface Finding {
  what: string;
  where: string;
}

/** Sizes in bytes. */
export interface StorageUsage {
  database: number;
  /** The history's share of the database, estimated. */
  events: number;
  /** Milliseconds since the epoch; undefined if there is no event. */
  oldestEventTime?: number | undefined;
  /** Changes that are not yet in the database's own file. */
  log?: number;
  /** Free space of the volume. */
  free?: number;
  /** Space that is set aside for when the volume is full. */
  reserve?: number;
  /** How many events this server has deleted because space was short. */
  eventsDeletedForSpace?: number;
}

/**
 * The IPAM's database. Every method states an intent and is atomic; once it resolves, the change is durable.
 * Failures of the store itself reject with IpamError `unavailable` (try again) or `internal`.
 */
export interface Store extends AsyncDisposable {
  /** Decides and applies the batch in one transaction; outcomes come in batch order. */
  commit(batch: readonly Mutation[]): Promise<Outcome[]>;

  /** Creates or changes a network. Rejects with `conflict` and the ports that would be orphaned, and with the edit's own error. */
  putNetwork(edit: NetworkEdit, caller: string): Promise<PutNetworkResponse>;
  /** Rejects with `not_found`, or `conflict` while ports hold its addresses. */
  deleteNetwork(name: string, caller: string): Promise<void>;

  /**
   * Registers, changes or removes a cluster; returns it as it is then, undefined if removed. Rejects with the change's own
   * error.
   */
  changeCluster(name: string, change: ClusterChange, caller: string): Promise<Cluster | undefined>;
  /** Returns all clusters by name. */
  readClusters(): Promise<Cluster[]>;

  /** Applies a step of the recovery after a restore. Returns what is left of it. */
  changeRecovery(change: RecoveryChange, caller: string): Promise<RecoveryState | undefined>;

  readNetworks(): Promise<Network[]>;
  /** Rejects with `not_found`. */
  readNetwork(name: string): Promise<Network>;
  readPorts(query: PortQuery): Promise<PortList>;
  /** Rejects with `not_found`. */
  readPort(name: string): Promise<Port>;
  /** The first addresses with a conflict, sorted by network. */
  readConflicts(): Promise<Conflict[]>;
  /** Scans a limited span for one page, so that rare events make many short pages instead of one slow query. */
  readEvents(query: EventQuery): Promise<EventList>;

  /** Calls back after each commit that wrote events, with the newest sequence number. Returns a function that unsubscribes. */
  onEvents(listener: (lastSeq: number) => void): () => void;

  /**
   * Deletes some unbound sticky ports whose TTL has ended and returns how many. Call periodically, until 0. With `jumpMs`,
   * how far the clock was set, it first shifts by that what waits (kept ports, leases, freed addresses), and shortens waits
   * that exceed their delay, as after a jump that was not seen. Give 0 at the start.
   */
  collectExpired(jumpMs?: number): Promise<number>;

  /** Runs the duty on one replica at a time, this one or another. Disposing ends this replica's term. */
  lead(duty: Duty): AsyncDisposable;

  /** What the store uses of its disk, as far as the engine knows. */
  readUsage(): Promise<StorageUsage>;
  /** Rejects with `unavailable` when the store cannot take a write now. */
  ready(): Promise<void>;
  /** Compares counters, held addresses, ports and queues. An empty list means a healthy store. */
  check(): Promise<Finding[]>;

  /**
   * Makes a consistent copy of the store as one file, during commits too. Only for an engine whose databases are files:
   * others have their own tools. Rejects with `overloaded` while another copy is made or read.
   */
  copy?(): Promise<StoreCopy>;

  /**
   * Reads the store's content at one moment, during commits too, in the stream's order: networks by name, ports by key,
   * freed addresses by network, subnet and address, the state.
   */
  exportRows(): AsyncIterable<TransferRow>;

  /**
   * Fills an empty store in one exclusive transaction; a rejection leaves it empty. The last row's digest must equal that
   * of the rows read back. Rejects with `conflict` for a store that is not empty, `invalid_request` for a bad row (the
   * last one read, or `details.row`), and with the errors of `rows`.
   */
  importRows(rows: AsyncIterable<TransferRow | TransferEnd>): Promise<ImportResponse>;
}

/** Disposing deletes it. */
export interface StoreCopy extends AsyncDisposable {
  /** Bytes. */
  size: number;
  read(): AsyncIterable<Uint8Array>;
}
