import type { ErrorCode } from "./error-codes.ts";

/**
 * The wire types of the IPAM's HTTP API (`/v1`, JSON, camelCase). No dependency, no code: the server, the CNI plugin
 * and mooringctl all speak these.
 *
 * Glossary (Neutron's words for addresses, the CNI spec's for the plugin, Kubernetes' for workloads):
 *
 * - network: one L2 segment. Chosen by label selector, never by id.
 * - subnet: one CIDR of a network.
 * - port: one endpoint's identity on a network: unique name, MAC, fixed IPs, owner, retention, binding, plane states.
 * - fixed IP: an address of a subnet held by a port.
 * - claim: "the port of this name, bound to me". Creates, finds or moves the port. Idempotent.
 * - binding: where a port is plugged now. Its epoch grows by one at every new binding and fences late reports.
 * - release: "my sandbox is gone". Ends the binding if it is still the caller's, else changes nothing.
 * - retention: what happens to an unbound port: `ephemeral` (deleted) or `sticky` (kept).
 * - plane: `underlay` (host: veth, OVS) or `overlay` (fabric: leaf switch).
 * - drift: a port's binding moves to another host, its addresses and MAC unchanged.
 */

/** Kubernetes labels: keys and values follow the Kubernetes label syntax. */
export type Labels = Record<string, string>;

export type IpFamily = "ipv4" | "ipv6";

/** A point in time, RFC 3339 in UTC with milliseconds: `2026-11-20T08:00:00.000Z`. */
export type Timestamp = string;

export type Segment =
  | { type: "flat"; physicalNetwork: string }
  /** id is the 802.1Q VLAN id, 1 to 4094. */
  | { type: "vlan"; id: number; physicalNetwork: string };

export interface Route {
  /** Destination CIDR. */
  dst: string;
  /** Next hop; without it the route is on-link. */
  gw?: string;
}

export interface Dns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

/** What a person declares about a subnet. */
export interface SubnetSpec {
  cidr: string;
  gateway?: string;
  /** Ranges `first-last` handed out automatically. Default: all usable addresses of the CIDR. */
  pools?: string[];
  /** CIDRs or single addresses or ranges never handed out, not even on request. */
  exclude?: string[];
  /** Default: one default route by the gateway, if there is one. */
  routes?: Route[];
  dns?: Dns;
}

/**
 * Each node may hold a few addresses beforehand, so that its ephemeral pods get theirs without asking. A leased address is
 * a port that is bound to the node for a pod yet to come (owner kind `lease`); a claim with `leasedPort` gives it to one.
 */
export interface NodeLease {
  /** How many addresses a node holds for pods to come, 1 to 256. */
  size: number;
  /** It asks for more when it holds fewer than this: 1 to size. Default: a quarter of the size, at least 1. */
  low: number;
}

export interface NetworkSpec {
  /** Networks of one VPC must not overlap. Default `default`. */
  vpc?: string;
  /** Hosts of other zones cannot reach it. Default: reachable from every zone. */
  availabilityZone?: string;
  segment: Segment;
  /** Bytes. 0 or absent: the host's default (1500). */
  mtu?: number;
  /** Absent: every claim asks the IPAM. */
  nodeLease?: { size: number; low?: number };
  subnets?: SubnetSpec[];
}

/** The declarative body of `POST /v1/networks` and `PUT /v1/networks/{name}`, and one document of `mooringctl apply`. */
export interface NetworkManifest {
  apiVersion: "mooring.dev/v1";
  kind: "Network";
  metadata: { name: string; labels?: Labels };
  spec: NetworkSpec;
}

/** Counters of one subnet, kept by the same transaction that changes them. */
export interface SubnetUsage {
  /** Addresses its pools can hand out (exclusions and gateway taken off), in decimal: an IPv6 /64 has more than 2^53. */
  size: string;
  /** Addresses held by ports now, wanted addresses outside the pools included. */
  held: number;
  /** Freed addresses that are waiting in the queue to be handed out again. */
  freed: number;
}

export interface Subnet {
  cidr: string;
  ipVersion: 4 | 6;
  gateway?: string;
  pools: string[];
  exclude: string[];
  routes: Route[];
  dns: Dns;
  usage: SubnetUsage;
}

export interface Network {
  name: string;
  labels: Labels;
  vpc: string;
  availabilityZone?: string;
  segment: Segment;
  mtu: number;
  nodeLease?: NodeLease;
  subnets: Subnet[];
  createdAt: Timestamp;
  updatedAt: Timestamp;
}

export type PlaneState = "DOWN" | "BUILD" | "ACTIVE" | "ERROR";
export type Plane = "underlay" | "overlay";

/** `lease`: a node, for a pod yet to come. */
export type OwnerKind = "pod" | "vm" | "device" | "lease";

/**
 * The Kubernetes object whose life a sticky port follows: the port is kept, bound or not, for as long as this asks for
 * the pod that last held it. Told by the claim, kept with the port, read by the controller of its cluster.
 */
export interface Workload {
  /** `Pod`: a pod of some other controller, which speaks only for itself. */
  kind: "StatefulSet" | "Deployment" | "ReplicaSet" | "VirtualMachine" | "Pod";
  namespace: string;
  name: string;
  /** Absent where a pod does not carry it (Deployment, VirtualMachine): then the name alone decides. */
  uid?: string;
  /** StatefulSet only: the pod's ordinal. A set scaled below it no longer asks for the pod. */
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
 * slots, and the slots their predecessors leave serve the next pods. Two claims of one batch get different slots.
 */
export interface SlotOf {
  /** `cluster/namespace/deployment`. */
  application: string;
  /** Only for interfaces other than `eth0`. */
  interface?: string;
}

/** How the names of leased ports begin; the host and a slash follow, then what the node likes. */
export const LEASE_PREFIX = "lease:";

/** Who a binding is for. `createdAt` orders owners: an older one never takes a port back from a newer one. */
export interface Owner {
  kind: OwnerKind;
  uid: string;
  createdAt: Timestamp;
}

/** CNI_CONTAINERID and CNI_IFNAME. */
export interface Sandbox {
  id: string;
  interface: string;
}

export interface Retention {
  policy: "ephemeral" | "sticky";
  /** Sticky only: how long an unbound port is kept. Absent: until its owner is gone or a person deletes it. */
  ttlSeconds?: number;
}

export interface Binding {
  host: string;
  ownerUid: string;
  /** Absent while the port is claimed ahead of its sandbox. */
  sandbox?: Sandbox;
  boundAt: Timestamp;
}

export interface FixedIp {
  address: string;
  /** The subnet's CIDR. */
  subnet: string;
  prefixLength: number;
  gateway?: string;
}

/** Who may claim a name that people chose (§ names): empty lists mean nobody. */
export interface Reservation {
  /** `cluster/namespace`, or `cluster/*`, or `*`. */
  allowedNamespaces: string[];
  /** Neutron's word for what the port is for, such as `baremetal:node` or `compute:vm`. */
  deviceOwner?: string;
}

export interface Port {
  name: string;
  /** Stable id of this port's life: another port created later under the same name has another id. */
  id: string;
  network: string;
  mac: string;
  fixedIps: FixedIp[];
  labels: Labels;
  retention: Retention;
  /** The last owner; kept after a release as the fence against older ones. */
  owner?: Owner;
  binding?: Binding;
  reservation?: Reservation;
  /** Cluster, namespace and workload that the last claim told. */
  cluster?: string;
  namespace?: string;
  workload?: Workload;
  /** The slot that the IPAM picked for a claim by `slotOf`. */
  slot?: number;
  /** 0 before the first binding. */
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
   * When an unbound sticky port's TTL ends, or a lease does. A node gives no address away whose lease has ended, but who
   * got one before may live: an ended lease is given up by its node, or when the node is known to be gone.
   */
  expiresAt?: Timestamp;
}

/** All a host needs to plug the port, so that a claim costs one round trip. */
export interface PortAttachment {
  port: Port;
  segment: Segment;
  mtu: number;
  routes: Route[];
  dns: Dns;
  /** The network's: the node may hold addresses of it beforehand. */
  nodeLease?: NodeLease;
  /** True when the last binding was ended by its own release, so that duplicate address detection may be skipped. */
  fenced: boolean;
}

/** Where a port's name comes from decides who wins when two owners want it. */
export type NameFrom =
  /** From the pod itself: Kubernetes lets one owner live at a time, so the newer owner wins. */
  | "pod"
  /** From the pod's labels: another owner gets `port_in_use` while the port is bound. */
  | "labels"
  /** Chosen by people: must be reserved beforehand, and `port_in_use` while another owner is bound. */
  | "reserved";

export interface Claim {
  /** Unique in the whole IPAM, 1 to 253 characters of `[A-Za-z0-9._:/@-]`. Exactly one of this and `slotOf`. */
  name?: string;
  /** Default `pod`. */
  nameFrom?: NameFrom;
  /** `cluster` and `namespace` of the claimant, held against a reservation and against the caller's identity. */
  cluster?: string;
  namespace?: string;
  host: string;
  /** The host's availability zone and physical networks; absent: no restriction is known. */
  availabilityZone?: string;
  physicalNetworks?: string[];
  /** Absent: claimed ahead of the sandbox, which a later claim of the same owner brings. */
  sandbox?: Sandbox;
  owner: Owner;
  /** Whose life a sticky port follows; replaces what the port had. */
  workload?: Workload;
  /**
   * The name of a port leased to this host (`lease:...`), which a pod here was given already: it takes the claim's name,
   * owner and sandbox, and keeps id, addresses, MAC and epoch. `conflict` when it is this host's lease no more.
   */
  leasedPort?: string;
  /** Instead of `name`: the IPAM picks the slot and with it the name, which the answer tells. Sticky claims only. */
  slotOf?: SlotOf;
  /** Kubernetes label selector syntax. The empty string matches every network. Not used when the port exists and its network still matches. */
  networkSelector: string;
  /** Default: every family that the network has a subnet for. */
  families?: IpFamily[];
  /** Default ephemeral. */
  retention?: Retention;
  labels?: Labels;
  /** Wanted addresses, at most one a family. */
  ips?: string[];
  /** Wanted MAC, `aa:bb:cc:dd:ee:ff`, unicast. */
  mac?: string;
  /** What to do with a port whose network no longer matches or cannot be reached. Default `fail`. */
  onMismatch?: "fail" | "reallocate";
}

export interface Release {
  /** Only this port; absent: whatever port the sandbox (or owner) is bound to. */
  name?: string;
  host: string;
  /** One of sandbox and ownerUid must be given; ownerUid speaks for bindings made before a sandbox was known. */
  sandbox?: Sandbox;
  ownerUid?: string;
}

export interface Report {
  name: string;
  epoch: number;
  plane: Plane;
  state: PlaneState;
  /** For people, such as the error text of OVS. */
  message?: string;
}

export interface ClaimsRequest {
  claims: Claim[];
}
export interface ReleasesRequest {
  releases: Release[];
}
export interface ReportsRequest {
  reports: Report[];
}

/** RFC 9457 problem document with a closed `code`. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  /** The offending field, as a path such as `claims[0].networkSelector`. */
  field?: string;
  /** Further facts, such as the ports in the way of a change. */
  ports?: string[];
  retryAfterSeconds?: number;
}

export type ClaimResult = PortAttachment | { problem: Problem };
export type ReleaseResult =
  /** `released: false` is success too: `stale` (bound to somebody else by now), `unbound` or `not_found`. */
  | { released: true; name: string; deleted: boolean }
  | { released: false; reason: "stale" | "unbound" | "not_found"; name?: string }
  | { problem: Problem };
export type ReportResult = { applied: true } | { applied: false; reason: "stale" | "not_found" } | { problem: Problem };

/** Results come in request order. */
export interface ClaimsResponse {
  results: ClaimResult[];
}
export interface ReleasesResponse {
  results: ReleaseResult[];
}
export interface ReportsResponse {
  results: ReportResult[];
}

/** `PUT /v1/ports/{name}`: reserve a port ahead of any claim, for VMs, bare metal and names that people choose. */
export interface PortReservation {
  networkSelector: string;
  families?: IpFamily[];
  ips?: string[];
  mac?: string;
  labels?: Labels;
  /** Default `["*"]`: any cluster. */
  allowedNamespaces?: string[];
  deviceOwner?: string;
}

export interface PutNetworkResponse {
  network: Network;
  /** What the call did: for `apply`, which says what it changed. */
  outcome: "created" | "changed" | "unchanged";
  /** One line a changed field, such as `subnet 10.100.0.0/16: pools`. */
  changes: string[];
}

/** `GET /v1/networks` query. `label` is a selector. */
export interface NetworkQuery {
  label?: string;
}

export interface NetworkList {
  networks: Network[];
}

export interface PortList {
  ports: Port[];
  /** Give it as `cursor` to read on; absent on the last page. */
  nextCursor?: string;
}

/**
 * `DELETE /v1/ports/{name}` query: deletes only what the caller saw. Another id or epoch, or a binding, is `conflict`
 * and changes nothing.
 */
export interface PortFence {
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
  /** Ports whose last claim came from this cluster, by whatever name. */
  cluster?: string;
  /** 1 to 1000, default 100. */
  limit?: number;
  cursor?: string;
}

export const EVENT_TYPES = [
  "network.created",
  "network.changed",
  "network.deleted",
  "port.created",
  "port.reserved",
  "port.bound",
  "port.moved",
  "port.released",
  "port.reallocated",
  "port.deleted",
  "port.state",
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * Only in streams, whatever their filter: events after the reader's last one are no longer kept. Compare everything; the
 * events that follow are those after this `seq`.
 */
export const GAP = "gap";

/** One row of the outbox: written in the transaction that made the change. `seq` grows without order changes. */
export interface MooringEvent {
  seq: number;
  time: Timestamp;
  type: EventType | typeof GAP;
  /** Who called, for the audit trail. */
  caller: string;
  port?: string;
  portId?: string;
  /** Cluster of the port's last claim. */
  cluster?: string;
  network?: string;
  host?: string;
  /** port.moved: where it was bound before. */
  fromHost?: string;
  epoch?: number;
  mac?: string;
  addresses?: string[];
  /** State pair after the change, e.g. `ACTIVE_BUILD`. */
  state?: string;
  sandboxId?: string;
  ownerUid?: string;
  message?: string;
}

/**
 * `GET /v1/events`: with `Accept: text/event-stream` a stream (`id:` is the seq, `event:` the type, `data:` the event),
 * else one page as JSON. `port`, `ip` and `mac` answer "when was it where", deleted ports included.
 */
export interface EventQuery {
  after?: number;
  host?: string;
  type?: EventType[];
  port?: string;
  ip?: string;
  mac?: string;
  /** JSON pages only; 1 to 1000, default 100. */
  limit?: number;
}

export interface EventList {
  events: MooringEvent[];
  /** The newest sequence number in the store. */
  lastSeq: number;
  /** The oldest one still kept; `lastSeq + 1` when none is. */
  oldestSeq: number;
}
