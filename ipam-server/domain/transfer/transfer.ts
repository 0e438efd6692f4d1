import type {
  Labels,
  Migration,
  NameFrom,
  NodeLease,
  OwnerKind,
  PlaneState,
  Reservation,
  Retention,
  Sandbox,
  Segment,
  SubnetSpec,
  Timestamp,
  Workload,
  WorkloadRetention,
} from "../../contract/index.ts";
import { toRetention, toWorkloadRetention } from "../clusters/workload-retention.ts";
import {
  addressAt,
  type Catalog,
  type NetworkRecord,
  type Pool,
  type SubnetDeclaration,
  type SubnetRecord,
} from "../model/catalog.ts";
import {
  type BindingRecord,
  type InactiveRecord,
  type OwnerRecord,
  type PortRecord,
  toTimestamp,
} from "../model/port-record.ts";
import type { FreedAddress } from "../model/snapshot.ts";
import type { CoolingAddress } from "../networks/cooling.ts";
import { toSpec } from "../networks/network-manifest.ts";

/**
 * The content of a store without its events, independent of its engine: ids of networks and subnets become names and
 * CIDRs, offsets become addresses. Keys stand in one order, so that equal content has equal text.
 */
export type TransferRow =
  | TransferNetwork
  | TransferPort
  | TransferFreed
  | TransferCooling
  | TransferCluster
  | TransferState;

/** Repeats fields of the wire type Network: an export of an old release must stay readable when the API changes. */
export interface TransferNetwork {
  kind: "network";
  name: string;
  labels: Labels;
  vpc: string;
  availabilityZone?: string;
  segment: Segment;
  mtu: number;
  nodeLease?: NodeLease;
  retention?: WorkloadRetention;
  createdAt: Timestamp;
  updatedAt: Timestamp;
  subnets: TransferSubnet[];
}

export interface TransferSubnet {
  spec: SubnetSpec;
  held: number;
  outside: number;
  freed: number;
  /** `first-last`, and how many addresses the cursor has passed, in decimal. */
  pools: { range: string; passed: string }[];
}

interface TransferOwner {
  kind: OwnerKind;
  uid: string;
  createdAt: Timestamp;
}

interface TransferBinding {
  host: string;
  sandbox?: Sandbox;
  boundAt: Timestamp;
  /** Absent in exports of earlier versions. */
  attemptedAt?: Timestamp;
}

export interface TransferPort {
  kind: "port";
  /** Kept, because MACs of ports without IPv4 are derived from it. */
  key: number;
  id: string;
  name: string;
  network: string;
  mac: string;
  /** IPv4 first. */
  addresses: string[];
  labels: Labels;
  retention: Retention;
  owner?: TransferOwner;
  binding?: TransferBinding;
  inactive?: TransferBinding & { owner: TransferOwner; epoch: number; migration: Migration };
  reservation?: Reservation;
  cluster?: string;
  namespace?: string;
  workload?: Workload;
  nameFrom?: NameFrom;
  slot?: { of: string; number: number };
  epoch: number;
  /** Absent: `epoch`. */
  lastEpoch?: number;
  underlay: PlaneState;
  overlay: PlaneState;
  previousBindingReleased: boolean;
  createdAt: Timestamp;
  updatedAt: Timestamp;
  releasedAt?: Timestamp;
  expiresAt?: Timestamp;
  unneeded?: "deleted" | "scaled";
  protected?: true;
}

export interface TransferFreed {
  kind: "freed";
  network: string;
  address: string;
  /** Inside an allocation pool. */
  pooled: boolean;
  freedAt: Timestamp;
  lastPort: string;
  /** Absent in exports of earlier versions: false. */
  released?: boolean;
  conflict?: { mac: string; host: string };
}

/** A freed address of a subnet that is no longer declared. Exports of earlier versions have none. */
export interface TransferCooling {
  kind: "cooling";
  /** See `segmentKey`. */
  segment: string;
  subnet: string;
  address: string;
  freedAt: Timestamp;
  lastPort: string;
}

/** Without the pass that its controller holds, which that decides again. */
export interface TransferCluster {
  kind: "cluster";
  name: string;
  uid: string;
  registeredAt: Timestamp;
}

export interface TransferState {
  kind: "state";
  /** The newest event's number. Events themselves are not exported. */
  lastSeq: number;
  nextPortKey: number;
  /** See `DecisionContext.minimumEpoch`. */
  epochFloor: number;
}

/** The only text form of a row. */
export const encodeTransferRow = (row: TransferRow): string => `${JSON.stringify(row)}\n`;

export function toTransferNetwork(network: NetworkRecord): TransferNetwork {
  const { name, labels, vpc, availabilityZone, segment, mtu, nodeLease, retention, createdAt, updatedAt, subnets } =
    network;
  return {
    kind: "network",
    name,
    labels: sortLabels(labels),
    vpc,
    ...(availabilityZone !== undefined && { availabilityZone }),
    segment:
      segment.type === "vlan"
        ? { type: "vlan", id: segment.id, physicalNetwork: segment.physicalNetwork }
        : { type: "flat", physicalNetwork: segment.physicalNetwork },
    mtu,
    ...(nodeLease && { nodeLease: { size: nodeLease.size, low: nodeLease.low } }),
    ...(retention && { retention: toWorkloadRetention(retention) }),
    createdAt,
    updatedAt,
    subnets: subnets.map(toTransferSubnet),
  };
}

function toTransferSubnet(subnet: SubnetRecord): TransferSubnet {
  const { held, outside, freed, ranges } = subnet;
  return {
    spec: toSpec(subnet),
    held,
    outside,
    freed,
    pools: ranges.map(pool => ({ range: rangeText(subnet, pool), passed: String(pool.cursor - pool.first) })),
  };
}

export const rangeText = (subnet: SubnetDeclaration, { first, last }: Omit<Pool, "id" | "cursor">): string =>
  `${addressAt(subnet, first)}-${addressAt(subnet, last)}`;

export function toTransferPort(port: PortRecord, catalog: Catalog): TransferPort {
  const { owner, binding, inactive, reservation, workload, slot, retention } = port;
  return {
    kind: "port",
    key: port.key,
    id: port.id,
    name: port.name,
    network: catalog.network(port.networkId).name,
    mac: port.mac,
    addresses: port.fixedIps.map(({ subnetId, offset }) => addressAt(catalog.subnet(subnetId), offset)),
    labels: sortLabels(port.labels),
    retention: toRetention(retention),
    ...(owner && { owner: toOwner(owner) }),
    ...(binding && { binding: toBinding(binding) }),
    ...(inactive && { inactive: toInactive(inactive) }),
    ...(reservation && { reservation: toReservation(reservation) }),
    ...(port.cluster !== undefined && { cluster: port.cluster }),
    ...(port.namespace !== undefined && { namespace: port.namespace }),
    ...(workload && { workload: toWorkload(workload) }),
    ...(port.nameFrom !== undefined && { nameFrom: port.nameFrom }),
    ...(slot && { slot: { of: slot.of, number: slot.number } }),
    epoch: port.epoch,
    ...(port.lastEpoch > port.epoch && { lastEpoch: port.lastEpoch }),
    underlay: port.underlay,
    overlay: port.overlay,
    previousBindingReleased: port.previousBindingReleased,
    createdAt: toTimestamp(port.createdAt),
    updatedAt: toTimestamp(port.updatedAt),
    ...(port.releasedAt !== undefined && { releasedAt: toTimestamp(port.releasedAt) }),
    ...(port.expiresAt !== undefined && { expiresAt: toTimestamp(port.expiresAt) }),
    ...(port.unneeded && { unneeded: port.unneeded }),
    ...(port.isProtected && { protected: true as const }),
  };
}

function toOwner({ kind, uid, createdAt }: OwnerRecord): TransferOwner {
  return { kind, uid, createdAt: toTimestamp(createdAt) };
}

function toInactive(inactive: InactiveRecord): NonNullable<TransferPort["inactive"]> {
  const { owner, epoch, migration } = inactive;
  return { ...toBinding(inactive), owner: toOwner(owner), epoch, migration: { id: migration.id } };
}

function toBinding({ host, sandbox, boundAt, attemptedAt }: BindingRecord): TransferBinding {
  return {
    host,
    ...(sandbox && { sandbox: { id: sandbox.id, interface: sandbox.interface } }),
    boundAt: toTimestamp(boundAt),
    ...(attemptedAt !== undefined && { attemptedAt: toTimestamp(attemptedAt) }),
  };
}

function toReservation({ allowedNamespaces, deviceOwner }: Reservation): Reservation {
  return { allowedNamespaces, ...(deviceOwner !== undefined && { deviceOwner }) };
}

function toWorkload({ kind, namespace, name, uid, ordinal }: Workload): Workload {
  return { kind, namespace, name, ...(uid !== undefined && { uid }), ...(ordinal !== undefined && { ordinal }) };
}

export function toTransferFreed(
  network: NetworkRecord,
  subnet: SubnetRecord,
  { offset, pooled, freedAt, lastPort, released, conflict }: FreedAddress & { pooled: boolean },
): TransferFreed {
  return {
    kind: "freed",
    network: network.name,
    address: addressAt(subnet, offset),
    pooled,
    freedAt: toTimestamp(freedAt),
    lastPort,
    ...(released && { released }),
    ...(conflict && { conflict: { mac: conflict.mac, host: conflict.host } }),
  };
}

export function toTransferCooling({ segment, cidr, offset, freedAt, lastPort }: CoolingAddress): TransferCooling {
  const address = addressAt({ cidr }, offset);
  return { kind: "cooling", segment, subnet: cidr.text, address, freedAt: toTimestamp(freedAt), lastPort };
}

function sortLabels(labels: Labels): Labels {
  const keys = Object.keys(labels);
  if (keys.length < 2) return labels;
  return Object.fromEntries(keys.sort().map(key => [key, labels[key] ?? ""]));
}
