import type { EventType, MooringEvent } from "../../contract/index.ts";
import type { Catalog, Pool, SubnetCounters } from "./catalog.ts";
import type { HeldIp, PortRecord } from "./port-record.ts";

/** Who has an address now: a port, or the queue of freed ones. Never both. */
export type AddressState = { heldBy: number } | FreedState;

export interface FreedState {
  freedAt: number;
  /** The name of the port that held it last. */
  lastPort: string;
}

export interface FreedAddress extends FreedState {
  offset: bigint;
}

/** What the store loads before a batch is decided: everything the decisions can ask, and no more. */
export interface Snapshot {
  catalog: Catalog;
  /** Every existing port that `Needs` names, by whatever way. */
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
  /** The next offsets never used and not held, ascending; as many as were asked for, or all there are. */
  fresh: ReadonlyMap<Pool, readonly bigint[]>;
  /** By subnet id: the oldest freed offsets inside the pools, oldest first; as many as were asked for, or all there are. */
  freed: ReadonlyMap<number, readonly FreedAddress[]>;
  /** The first key that no port ever had. */
  nextPortKey: number;
}

/** An event before the store has given it its number. */
export type NewEvent = Omit<MooringEvent, "seq" | "time" | "type"> & {
  type: EventType;
  portKey?: number;
  /** port.reallocated: what it had before. */
  former?: { mac: string; addresses: readonly string[] };
};

/** What a decided batch changes. Sets without order inside; the store deletes before it updates and inserts. */
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
  /** Set when keys were given out, even to ports that did not outlive the batch. */
  nextPortKey: number | undefined;
  events: NewEvent[];
}
