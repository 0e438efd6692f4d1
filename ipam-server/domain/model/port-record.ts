import type {
  Binding,
  FixedIp,
  Labels,
  Migration,
  NameFrom,
  OwnerKind,
  PlaneState,
  Port,
  PortAttachment,
  Reservation,
  Retention,
  Sandbox,
  Timestamp,
  Workload,
} from "../../contract/index.ts";
import { addressAt, type Catalog, routesOf } from "./catalog.ts";
import type { Slot } from "./slots.ts";

/** An address as the store holds it. */
export interface HeldIp {
  subnetId: number;
  offset: bigint;
}

export interface OwnerRecord {
  kind: OwnerKind;
  uid: string;
  createdAt: number;
}

export interface BindingRecord {
  host: string;
  sandbox: Sandbox | undefined;
  /** When the host began to plug the sandbox, by its own clock; see Claim. */
  attemptedAt?: number | undefined;
  boundAt: number;
}

/** A migration's target. Unlike the ACTIVE binding it has an owner and an epoch of its own. */
export interface InactiveRecord extends BindingRecord {
  owner: OwnerRecord;
  epoch: number;
  migration: Migration;
}

/** A port inside the domain. Immutable. Times are milliseconds since the Unix epoch. */
export interface PortRecord {
  /** The store's integer key: never reused, not part of the API. */
  key: number;
  id: string;
  name: string;
  networkId: number;
  mac: string;
  fixedIps: readonly HeldIp[];
  labels: Labels;
  retention: Retention;
  owner: OwnerRecord | undefined;
  /** The ACTIVE one. Its owner is `owner`. */
  binding: BindingRecord | undefined;
  inactive: InactiveRecord | undefined;
  reservation: Reservation | undefined;
  cluster: string | undefined;
  namespace: string | undefined;
  workload: Workload | undefined;
  /** Of the last claim; undefined before the first. */
  nameFrom: NameFrom | undefined;
  /** Set if the port was created for a claim by `slotOf`; never changes. */
  slot: Slot | undefined;
  epoch: number;
  /** The highest of any binding so far, INACTIVE ones included: the next one's is greater. */
  lastEpoch: number;
  underlay: PlaneState;
  overlay: PlaneState;
  /** Set by each binding: see PortAttachment. */
  previousBindingReleased: boolean;
  createdAt: number;
  updatedAt: number;
  releasedAt: number | undefined;
  /** When the retention's TTL of an unbound port ends, or a lease. */
  expiresAt: number | undefined;
  /** Nothing deletes it. */
  isProtected: boolean;
  /** The workload does not need the unbound port, which is kept. */
  unneeded: Port["unneeded"] | undefined;
}

/** The port that a placement is for: one to come has only the name and the key. */
export type PlacedPort = Pick<PortRecord, "name" | "key"> & Partial<Pick<PortRecord, "networkId" | "fixedIps" | "mac">>;

let last = { time: 0, text: "1970-01-01T00:00:00.000Z" };
let other = last;

/** Caches two entries, because a batch uses one timestamp, plus one for each owner. */
export function toTimestamp(time: number): Timestamp {
  if (last.time !== time) {
    const found = other.time === time ? other : { time, text: new Date(time).toISOString() };
    other = last;
    last = found;
  }
  return last.text;
}

export const stateOf = (port: Pick<PortRecord, "underlay" | "overlay">): Port["state"] =>
  `${port.underlay}_${port.overlay}`;

export function sameSandbox(a: Sandbox | undefined, b: Sandbox | undefined): boolean {
  return a?.id === b?.id && a?.interface === b?.interface;
}

export function toPort(port: PortRecord, catalog: Catalog): Port {
  const { owner, binding, inactive } = port;
  const view: Port = {
    name: port.name,
    id: port.id,
    network: catalog.network(port.networkId).name,
    mac: port.mac,
    fixedIps: port.fixedIps.map(ip => toFixedIp(ip, catalog)),
    labels: port.labels,
    retention: port.retention,
    epoch: port.epoch,
    underlay: port.underlay,
    overlay: port.overlay,
    state: stateOf(port),
    createdAt: toTimestamp(port.createdAt),
    updatedAt: toTimestamp(port.updatedAt),
  };
  if (owner) view.owner = { kind: owner.kind, uid: owner.uid, createdAt: toTimestamp(owner.createdAt) };
  if (binding) view.binding = toBinding(binding, owner?.uid ?? "");
  if (inactive) {
    const { owner, epoch, migration } = inactive;
    view.inactiveBinding = { ...toBinding(inactive, owner.uid), epoch, migration };
  }
  if (port.reservation) view.reservation = port.reservation;
  if (port.cluster !== undefined) view.cluster = port.cluster;
  if (port.namespace !== undefined) view.namespace = port.namespace;
  if (port.workload) view.workload = port.workload;
  if (port.slot) view.slot = port.slot.number;
  if (port.releasedAt !== undefined) view.releasedAt = toTimestamp(port.releasedAt);
  if (port.isProtected) view.protected = true;
  if (port.unneeded) view.unneeded = port.unneeded;
  if (port.expiresAt !== undefined) view.expiresAt = toTimestamp(port.expiresAt);
  return view;
}

function toBinding({ host, sandbox, boundAt }: BindingRecord, ownerUid: string): Binding {
  return { host, ownerUid, boundAt: toTimestamp(boundAt), ...(sandbox && { sandbox }) };
}

function toFixedIp({ subnetId, offset }: HeldIp, catalog: Catalog): FixedIp {
  const subnet = catalog.subnet(subnetId);
  return {
    address: addressAt(subnet, offset),
    subnet: subnet.cidr.text,
    prefixLength: subnet.cidr.prefixLength,
    ...(subnet.gateway !== undefined && { gateway: subnet.gateway }),
  };
}

export function toAttachment(port: PortRecord, catalog: Catalog): PortAttachment {
  const network = catalog.network(port.networkId);
  const subnets = port.fixedIps.map(({ subnetId }) => catalog.subnet(subnetId));
  const dns: PortAttachment["dns"] = {};
  for (const subnet of subnets) {
    if (dns.domain === undefined && subnet.dns.domain !== undefined) dns.domain = subnet.dns.domain;
    for (const key of ["nameservers", "search", "options"] as const) {
      const more = subnet.dns[key];
      if (more?.length) dns[key] = [...new Set([...(dns[key] ?? []), ...more])];
    }
  }
  return {
    port: toPort(port, catalog),
    segment: network.segment,
    mtu: network.mtu,
    routes: subnets.flatMap(routesOf),
    dns,
    ...(network.nodeLease && { nodeLease: network.nodeLease }),
    previousBindingReleased: port.previousBindingReleased,
  };
}
