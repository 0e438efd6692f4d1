import type { EventType, MooringEvent } from "../../contract/index.ts";
import type { Catalog, Pool, SubnetCounters } from "./catalog.ts";
import type { HeldIp, PortRecord } from "./port-record.ts";

/** An address is held by a port or in the queue of freed ones, never both. */
export type AddressState = { heldBy: number } | FreedState;

export interface FreedState {
  freedAt: number;
  /** The name of the port that held it last. */
  lastPort: string;
  /** True if that port was released by its own host, which had unplugged it. */
  released: boolean;
  /** Set if another machine answers for the address: it is not assigned, and `freedAt` says since when. */
  conflict: { mac: string; host: string } | undefined;
}

export interface FreedAddress extends FreedState {
  offset: bigint;
}

/** The next offsets of a pool that are never used and not held, ascending; none when it turned out to be exhausted. */
export interface FreshRun {
  pool: Pool;
  offsets: readonly bigint[];
}

/** The input of `decide`, loaded by the store: everything that the batch's needs name, and no more. */
export interface Snapshot {
  catalog: Catalog;
  /** Every existing port that `Needs` names, by any key. */
  ports: readonly PortRecord[];
  /** The wanted addresses that are held or freed; those absent are neither. */
  addresses: readonly (HeldIp & { state: AddressState })[];
  /** Which ports have the wanted MACs, on any network. */
  macs: readonly { networkId: number; mac: string; portName: string }[];
  /**
   * By series of slots (see `slotSeries`): the lowest numbers whose names no port has, ascending, as many as were asked
   * for. `ports` has of each series those bound to the owners asked for or theirs last, and as many of the lowest
   * unbound ones on each set of networks.
   */
  vacantSlots: ReadonlyMap<string, readonly number[]>;
  /** By subnet id, in order of the pools: offsets never used; as many as were asked for, or all there are. */
  fresh: ReadonlyMap<number, readonly FreshRun[]>;
  /** By subnet id: the oldest freed offsets inside the pools, oldest first; as many as were asked for, or all there are. */
  freed: ReadonlyMap<number, readonly FreedAddress[]>;
  /** The first key that no port ever had. */
  nextPortKey: number;
}

/** An event without number and time, which the store adds. */
export type NewEvent = Omit<MooringEvent, "seq" | "time" | "type"> & {
  type: EventType;
  portKey?: number;
  /** port.reallocated: MAC and addresses before. */
  former?: { mac: string; addresses: readonly string[] };
};

/** The changes of a decided batch. Unordered; the store deletes before it updates and inserts. */
export interface Writes {
  insertedPorts: PortRecord[];
  updatedPorts: PortRecord[];
  /** Those of the updated ones whose network or MAC changed. */
  movedPorts: PortRecord[];
  /** Those of the updated ones whose name changed. */
  renamedPorts: PortRecord[];
  deletedPorts: PortRecord[];
  insertedHeld: (HeldIp & { portKey: number })[];
  deletedHeld: HeldIp[];
  insertedFreed: (HeldIp & FreedState & { pooled: boolean })[];
  deletedFreed: HeldIp[];
  /** New values. */
  cursors: Map<Pool, bigint>;
  /** By subnet id. */
  counters: Map<number, SubnetCounters>;
  /** Set when keys were used, even for ports that the same batch deleted. */
  nextPortKey: number | undefined;
  events: NewEvent[];
}
