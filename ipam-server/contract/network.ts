import type { WorkloadRetention } from "./retention.ts";
import type { Labels, Timestamp } from "./values.ts";

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
 * Lets each node hold a few addresses, so that its ephemeral pods get theirs without a call. A leased address is a port
 * bound to the node for a future pod (owner kind `lease`); a claim with `leasedPort` assigns it to one.
 */
export interface NodeLease {
  /** How many addresses a node holds for future pods, 1 to 256. */
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
  /** Bytes. 0 or absent: on each host the least MTU of the uplinks, 1500 without one. */
  mtu?: number;
  /** Absent: every claim asks the IPAM. */
  nodeLease?: { size: number; low?: number };
  /** For ports that do not say; absent: the server's. */
  retention?: WorkloadRetention;
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
  /** Freed addresses that wait to be assigned again. */
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
  retention?: WorkloadRetention;
  subnets: Subnet[];
  createdAt: Timestamp;
  updatedAt: Timestamp;
}

export interface PutNetworkResponse {
  network: Network;
  /** What the call did. */
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
