import type { Dns, NodeLease, Route, Segment } from "./network.ts";
import type { Retention } from "./retention.ts";
import type { IpFamily, Labels, Timestamp } from "./values.ts";

export type PlaneState = "DOWN" | "BUILD" | "ACTIVE" | "ERROR";
export type Plane = "underlay" | "overlay";

/** `lease`: a node, for a future pod. */
export type OwnerKind = "pod" | "vm" | "device" | "lease";

/**
 * The Kubernetes object whose lifetime a sticky port follows: the port is kept, bound or not, while this object wants
 * the pod that last held it. Set by the claim, stored with the port, read by the controller of its cluster.
 */
export interface Workload {
  /** `Pod`: a pod of another kind of controller; only the pod itself counts. */
  kind: "StatefulSet" | "Deployment" | "ReplicaSet" | "VirtualMachine" | "Pod";
  namespace: string;
  name: string;
  /** Absent where a pod does not carry it (Deployment, VirtualMachine): then the name alone decides. */
  uid?: string;
  /** StatefulSet only: the pod's ordinal. A set scaled below it no longer wants the pod. */
  ordinal?: number;
}

/**
 * A claim for "one of this application's addresses", which the IPAM picks: the port is `application/N`, or
 * `application/N/interface`, with N the slot. In this order:
 *
 * 1. the slot whose port is bound to the claim's owner uid, else an unbound one whose last owner it was;
 * 2. the lowest N whose port does not exist, or is unbound and on a network that matches the selector and is
 *    reachable from the host (a free slot this host cannot use is passed over, not waited for).
 *
 * A bound slot is never taken, so this cannot wait for another pod: the surge pods of a rolling update get further
 * slots, and the slots of their predecessors are used by the next pods. Two claims of one batch get different slots.
 */
export interface SlotOf {
  /** `cluster/namespace/deployment`. */
  application: string;
  /** Only for interfaces other than `eth0`. */
  interface?: string;
}

/** The prefix of names of leased ports; the host, a slash and a suffix chosen by the node follow. */
export const LEASE_PREFIX = "lease:";

/** Who a binding is for. `createdAt` orders owners: an older one never takes a port back from a newer one. */
export interface Owner {
  kind: OwnerKind;
  uid: string;
  createdAt: Timestamp;
}

/** A pod's first interface, in the name that container runtimes give it (CNI_IFNAME). */
export const DEFAULT_INTERFACE = "eth0";

/** CNI_CONTAINERID and CNI_IFNAME. */
export interface Sandbox {
  id: string;
  interface: string;
}

export interface Binding {
  host: string;
  ownerUid: string;
  /** Absent while the port is pre-claimed. */
  sandbox?: Sandbox;
  boundAt: Timestamp;
}

/** A live migration, by its id in the orchestrator: KubeVirt's migration object, Nova's migration. */
export interface Migration {
  id: string;
}

/** Where a migration's target is plugged, without traffic. Ends by its own release, or becomes the ACTIVE binding. */
export interface InactiveBinding extends Binding {
  epoch: number;
  migration: Migration;
}

export interface FixedIp {
  address: string;
  /** The subnet's CIDR. */
  subnet: string;
  prefixLength: number;
  gateway?: string;
}

/** Which namespaces may claim a reserved name. An empty list allows none. */
export interface Reservation {
  /** `cluster/namespace`, or `cluster/*`, or `*`. */
  allowedNamespaces: string[];
  /** Neutron's word for what the port is for, such as `baremetal:node` or `compute:vm`. */
  deviceOwner?: string;
}

export interface Port {
  name: string;
  /** A port created later under the same name has another id. */
  id: string;
  network: string;
  mac: string;
  fixedIps: FixedIp[];
  labels: Labels;
  retention: Retention;
  /** The last owner; kept after a release to reject older ones. */
  owner?: Owner;
  /** The ACTIVE one. */
  binding?: Binding;
  inactiveBinding?: InactiveBinding;
  reservation?: Reservation;
  /** Cluster, namespace and workload of the last claim. */
  cluster?: string;
  namespace?: string;
  workload?: Workload;
  /** The workload no longer needs the port, which is kept nevertheless; `expiresAt` says until when. Absent: it does. */
  unneeded?: "deleted" | "scaled";
  /** Nothing deletes the port until a person unprotects it; absent: it is not protected. */
  protected?: true;
  /** The slot that the IPAM picked for a claim by `slotOf`. */
  slot?: number;
  /** Of the ACTIVE binding, or the last one; 0 before the first. */
  epoch: number;
  underlay: PlaneState;
  overlay: PlaneState;
  /** Both planes as people read them: `ACTIVE_ACTIVE` (underlay first). */
  state: `${PlaneState}_${PlaneState}`;
  createdAt: Timestamp;
  updatedAt: Timestamp;
  /** When the last binding ended; absent while bound and before the first binding. */
  releasedAt?: Timestamp;
  /**
   * When an unbound sticky port's TTL or a lease ends. A node assigns no address of an expired lease, but a pod may use it
   * already: an expired lease is released by its node, or once the node is gone.
   */
  expiresAt?: Timestamp;
}

/** Everything a host needs to plug the port, so that a claim costs one round trip. */
export interface PortAttachment {
  port: Port;
  segment: Segment;
  mtu: number;
  routes: Route[];
  dns: Dns;
  /** The network's: the node may lease addresses of it. */
  nodeLease?: NodeLease;
  /** Present when the claim has the port's INACTIVE binding, whose epoch is `port.inactiveBinding.epoch`. */
  inactive?: true;
  /**
   * True only if the last holder of every address has released it and was seen unplugged. Otherwise the host probes the
   * addresses before the pod uses them: never used, wanted, reserved, declared again, moved, or released by others.
   */
  previousBindingReleased: boolean;
}

/** `PUT /v1/ports/{name}`: reserve a port before any claim, for VMs, bare metal and chosen names. */
export interface PortReservation {
  networkSelector: string;
  families?: IpFamily[];
  ips?: string[];
  mac?: string;
  labels?: Labels;
  /**
   * Default: those that may claim it already; of a port that a namespace has claimed without a reservation, that
   * namespace; of a new port `["*"]`, any cluster.
   */
  allowedNamespaces?: string[];
  deviceOwner?: string;
}

/** `PUT /v1/ports/{name}` with nothing else: protects an existing port, reserved or not, or ends that. */
export interface PortProtection {
  protected: boolean;
}

export interface PortList {
  ports: Port[];
  /** Give it as `cursor` to read on; absent on the last page. */
  nextCursor?: string;
}

/**
 * `DELETE /v1/ports/{name}` query: deletes only the port that the caller saw. Another id or epoch, or a binding, is `conflict`
 * and changes nothing.
 */
export interface PortPrecondition {
  id?: string;
  epoch?: number;
}

/** `GET /v1/ports` query. `state` is `bound`, `unbound` or a pair such as `ACTIVE_ACTIVE`; `label` is a selector. */
export interface PortQuery {
  name?: string;
  network?: string;
  host?: string;
  ip?: string;
  mac?: string;
  label?: string;
  state?: string;
  /** Ports whose last claim came from this cluster, under any name. */
  cluster?: string;
  /** 1 to 1000, default 100. */
  limit?: number;
  cursor?: string;
}
