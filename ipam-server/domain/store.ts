import type {
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
import type { Duty } from "./model/leadership.ts";
import type { Mutation, Outcome } from "./model/mutation.ts";
import type { NetworkEdit } from "./networks/network-edit.ts";
import type { TransferRow } from "./transfer/transfer.ts";

/** A broken promise of the store, found by `check`. */
export interface Finding {
  what: string;
  where: string;
}

/**
 * The IPAM's memory. Every method says an intent and is atomic; an answer means that the change is durable.
 * Failures of the store itself reject with IpamError `unavailable` (try again) or `internal`.
 */
export interface Store extends AsyncDisposable {
  /** Decides and applies the whole batch in one transaction; outcomes come in batch order. */
  commit(batch: readonly Mutation[]): Promise<Outcome[]>;

  /** Declares a network: creates it or changes it. Rejects with `conflict` and the ports that would be orphaned, and with what the wish throws. */
  putNetwork(wish: NetworkEdit, caller: string): Promise<PutNetworkResponse>;
  /** Rejects with `not_found`, or `conflict` while ports hold its addresses. */
  deleteNetwork(name: string, caller: string): Promise<void>;

  readNetworks(): Promise<Network[]>;
  /** Rejects with `not_found`. */
  readNetwork(name: string): Promise<Network>;
  readPorts(query: PortQuery): Promise<PortList>;
  /** Rejects with `not_found`. */
  readPort(name: string): Promise<Port>;
  /** `upTo`: later events are not looked at, which bounds the work where few match. */
  readEvents(query: EventQuery, upTo?: number): Promise<EventList>;

  /** Calls back after each commit that wrote events, with the newest sequence number. Returns its own undo. */
  onEvents(listener: (lastSeq: number) => void): () => void;

  /** Deletes unbound sticky ports whose TTL ended; answers how many. Call it now and then. */
  collectExpired(): Promise<number>;

  /** Runs the duty on one replica at a time, on this one or another; disposing ends its term here, and hands over. */
  lead(duty: Duty): AsyncDisposable;

  /** Rejects with `unavailable` when the store cannot take a write now. */
  ready(): Promise<void>;
  /** Compares counters, held addresses, ports and queues; an empty list is a healthy store. */
  check(): Promise<Finding[]>;

  /**
   * A consistent copy of the store as one file, made while commits go on. Only of an engine whose databases are files:
   * others have tools of their own. Rejects with `overloaded` while another copy is made or read.
   */
  copy?(): Promise<StoreCopy>;

  /**
   * All that the store holds at one moment, in the stream's order (networks by name, ports by key, freed addresses by
   * network, subnet and address, the state), while commits go on.
   */
  exportRows(): AsyncIterable<TransferRow>;

  /**
   * Fills an empty store in one transaction: until the answer nothing else is served, and when it rejects nothing was
   * written. The last row is the end, whose digest is held to what the store reads back before it commits. `conflict`
   * for a store that is not empty (before the first row is asked for), `invalid_request` for what is wrong with the last
   * row that was asked for, or that `details.row` counts, and whatever the rows themselves reject with.
   */
  importRows(rows: AsyncIterable<TransferRow | TransferEnd>): Promise<ImportResponse>;
}

/** Disposing forgets it. */
export interface StoreCopy extends AsyncDisposable {
  /** Bytes. */
  size: number;
  read(): AsyncIterable<Uint8Array>;
}
