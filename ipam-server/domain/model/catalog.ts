import type {
  Dns,
  Labels,
  Network,
  NodeLease,
  Route,
  Segment,
  Timestamp,
  WorkloadRetention,
} from "../../contract/index.ts";
import { type Cidr, findRange, formatAddress, lengthOf, type Range } from "./address.ts";
import { matches, parseSelector } from "./selector.ts";

/** A declared subnet, validated and with defaults filled in. Ranges hold offsets. */
export interface SubnetDeclaration {
  cidr: Cidr;
  gateway: string | undefined;
  /** As declared (canonical); undefined: all usable addresses. */
  pools: string[] | undefined;
  exclude: string[];
  /** As declared; undefined: the default route by the gateway. */
  routes: Route[] | undefined;
  dns: Dns;
  /** What the allocator assigns: the pools without `unusable` and `devices`. Sorted, disjoint. */
  ranges: Range[];
  /** Network and broadcast address, gateway and exclusions: never assigned, not even on request. Sorted, disjoint. */
  unusable: { ranges: Range[]; why: string }[];
  /** Addresses that routes and DNS name, because another device answers there: assigned only on request. */
  devices: { range: Range; type: "router" | "nameserver" }[];
}

export interface NetworkDeclaration<S extends SubnetDeclaration = SubnetDeclaration> {
  name: string;
  labels: Labels;
  vpc: string;
  availabilityZone: string | undefined;
  segment: Segment;
  /** 0: the least MTU of the host's uplinks. */
  mtu: number;
  nodeLease: NodeLease | undefined;
  retention: WorkloadRetention | undefined;
  subnets: S[];
}

/**
 * One allocation range with its cursor: every offset below the cursor is held or freed; those from it on were never
 * used, except wanted addresses.
 */
export interface Pool extends Range {
  id: number;
  /** `last + 1` when used up. */
  cursor: bigint;
}

export interface SubnetCounters {
  /** Addresses held by ports. */
  held: number;
  /** Held addresses outside the pools. */
  outside: number;
  /** Freed addresses inside the pools that wait to be assigned again. */
  freed: number;
}

export interface SubnetRecord extends SubnetDeclaration, SubnetCounters {
  id: number;
  networkId: number;
  ranges: Pool[];
}

export interface NetworkRecord extends NetworkDeclaration<SubnetRecord> {
  id: number;
  createdAt: Timestamp;
  updatedAt: Timestamp;
}

const MAX_CACHED_SELECTORS = 1000;

/** All networks. The domain only reads it; the store updates counters and cursors after each commit. */
export class Catalog {
  readonly networks: readonly NetworkRecord[];
  readonly #networkById: Map<number, NetworkRecord>;
  readonly #subnetById: Map<number, SubnetRecord>;
  readonly #matching = new Map<string, NetworkRecord[]>();

  constructor(networks: readonly NetworkRecord[]) {
    this.networks = networks.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    this.#networkById = new Map(networks.map(network => [network.id, network]));
    this.#subnetById = new Map(networks.flatMap(network => network.subnets).map(subnet => [subnet.id, subnet]));
  }

  network(id: number): NetworkRecord {
    return mustBe(this.#networkById.get(id), "network", id);
  }

  subnet(id: number): SubnetRecord {
    return mustBe(this.#subnetById.get(id), "subnet", id);
  }

  hasSubnet(id: number): boolean {
    return this.#subnetById.has(id);
  }

  /** The networks that a `networkSelector` matches. Throws `invalid_request` when it does not parse. */
  match(selectorText: string): readonly NetworkRecord[] {
    const cached = this.#matching.get(selectorText);
    if (cached) return cached;
    const selector = parseSelector(selectorText, "networkSelector");
    const matching = this.networks.filter(network => matches(selector, network.labels));
    if (this.#matching.size >= MAX_CACHED_SELECTORS) this.#matching.clear();
    this.#matching.set(selectorText, matching);
    return matching;
  }
}

function mustBe<T>(value: T | undefined, what: string, id: number): T {
  if (value === undefined) throw new Error(`the catalog has no ${what} ${id}`);
  return value;
}

export const sizeOf = (subnet: SubnetDeclaration): bigint =>
  subnet.ranges.reduce((sum, range) => sum + lengthOf(range), 0n);

export const poolAt = (subnet: SubnetRecord, offset: bigint): Pool | undefined => findRange(subnet.ranges, offset);

export const addressAt = (subnet: Pick<SubnetDeclaration, "cidr">, offset: bigint): string =>
  formatAddress(subnet.cidr.version, subnet.cidr.base + offset);

export function routesOf(subnet: SubnetDeclaration): Route[] {
  if (subnet.routes) return subnet.routes;
  if (subnet.gateway === undefined) return [];
  return [{ dst: subnet.cidr.version === 4 ? "0.0.0.0/0" : "::/0", gw: subnet.gateway }];
}

/** The network as the API shows it. */
export function toNetwork(network: NetworkRecord): Network {
  return {
    name: network.name,
    labels: network.labels,
    vpc: network.vpc,
    ...(network.availabilityZone !== undefined && { availabilityZone: network.availabilityZone }),
    segment: network.segment,
    mtu: network.mtu,
    ...(network.nodeLease && { nodeLease: network.nodeLease }),
    ...(network.retention && { retention: network.retention }),
    subnets: network.subnets.map(subnet => ({
      cidr: subnet.cidr.text,
      ipVersion: subnet.cidr.version,
      ...(subnet.gateway !== undefined && { gateway: subnet.gateway }),
      pools:
        subnet.pools ??
        subnet.ranges.map(({ first, last }) => `${addressAt(subnet, first)}-${addressAt(subnet, last)}`),
      exclude: subnet.exclude,
      routes: routesOf(subnet),
      dns: subnet.dns,
      usage: { size: sizeOf(subnet).toString(), held: subnet.held, freed: subnet.freed },
    })),
    createdAt: network.createdAt,
    updatedAt: network.updatedAt,
  };
}
