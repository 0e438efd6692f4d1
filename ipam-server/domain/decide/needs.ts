import type { Claim, PortReservation } from "../../contract/index.ts";
import { contains, familyOf, parseAddress, rangeOf } from "../model/address.ts";
import { type Catalog, type NetworkRecord, type SubnetRecord, sizeOf } from "../model/catalog.ts";
import type { HeldIp } from "../model/port-record.ts";
import { isReachable } from "../model/reachable.ts";
import { type SlotNeed, SlotNeeds } from "../model/slots.ts";
import type { Mutation } from "../store.ts";

/** `expire`: the store's own wish to delete an unbound port whose time is over. */
export type Item = Mutation | { kind: "expire"; name: string; caller: string };

/** A port looked for by where it is bound. */
export interface BindingKey {
  host: string;
  sandboxId: string | undefined;
  ownerUid: string | undefined;
}

/** What a batch may ask about. */
export interface Needs {
  portNames: string[];
  bindings: BindingKey[];
  addresses: HeldIp[];
  macs: string[];
  /** One an application and interface. */
  slots: SlotNeed[];
}

/** What a claim or a reservation asks of a network. */
export type PlacementRequest = Pick<
  Claim & PortReservation,
  "networkSelector" | "families" | "ips" | "mac" | "availabilityZone" | "physicalNetworks"
> & { host?: string };

/** Which networks' pools may be allocated from, and how many addresses of each at most. */
export type AllocationNeeds = Map<number, number>;

/** Pure: names all that a batch may look up, so that the store can load it at once. */
export function planNeeds(batch: readonly Item[], catalog: Catalog): Needs {
  const portNames = new Set<string>();
  const macs = new Set<string>();
  const bindings: BindingKey[] = [];
  const addresses: HeldIp[] = [];
  const slots = new SlotNeeds();
  for (const item of batch) {
    const name = nameOf(item);
    if (name !== undefined) portNames.add(name);
    else if (item.kind === "claim" && item.claim.slotOf) slots.add(item.claim, item.claim.slotOf, catalog);
    else if (item.kind === "release") {
      const { host, sandbox, ownerUid } = item.release;
      bindings.push({ host, sandboxId: sandbox?.id, ownerUid });
    }
    if (item.kind === "claim" && item.claim.leasedPort !== undefined) portNames.add(item.claim.leasedPort);
    const wish = wishOf(item);
    if (wish?.mac !== undefined) macs.add(wish.mac.toLowerCase());
    for (const ip of wish?.ips ?? []) addresses.push(...locate(ip, catalog));
  }
  return { portNames: [...portNames], bindings, addresses, macs: [...macs], slots: slots.toNeeds(portNames) };
}

export function nameOf(item: Item): string | undefined {
  if (item.kind === "claim") return item.claim.name;
  if (item.kind === "release") return item.release.name;
  if (item.kind === "report") return item.report.name;
  return item.name;
}

function wishOf(item: Item): PlacementRequest | undefined {
  if (item.kind === "claim") return item.claim;
  return item.kind === "reserve" ? item.reservation : undefined;
}

/** Where an address could be: VPCs may overlap, so several subnets can contain it. */
export function locate(text: string, catalog: Catalog): HeldIp[] {
  const address = parseAddress(text);
  if (!address) return [];
  return catalog.networks
    .flatMap(network => network.subnets)
    .filter(({ cidr }) => cidr.version === address.version && contains(rangeOf(cidr), address.value))
    .map(({ id, cidr }) => ({ subnetId: id, offset: address.value - cidr.base }));
}

/**
 * Pure: the networks that the items without a port may be given addresses of. Each new port goes to the network with
 * the largest share of free addresses, which lowers only that network's share: n new ports can only meet the first n.
 */
export function planAllocations(
  batch: readonly Item[],
  catalog: Catalog,
  exists: (name: string) => boolean,
): AllocationNeeds {
  const groups = new Map<string, { wish: PlacementRequest; count: number }>();
  const mayGo = portsBatchMayDelete(batch);
  let count = 0;
  for (const item of batch) {
    const wish = wishOf(item);
    if (!wish) continue;
    const mayReallocate = item.kind === "claim" && item.claim.onMismatch === "reallocate";
    const name = nameOf(item) ?? "";
    if (item.kind === "claim" && item.claim.leasedPort !== undefined) continue;
    if (!mayReallocate && exists(name) && !mayGo(name)) continue;
    count++;
    const { networkSelector, families, availabilityZone, physicalNetworks, ips } = wish;
    const key =
      families || availabilityZone || physicalNetworks || ips
        ? JSON.stringify([networkSelector, families, availabilityZone, physicalNetworks, ips])
        : networkSelector;
    const group = groups.get(key);
    if (group) group.count++;
    else groups.set(key, { wish, count: 1 });
  }
  const needs: AllocationNeeds = new Map();
  for (const { wish } of groups.values()) {
    for (const network of findCandidates(wish, catalog).slice(0, count)) needs.set(network.id, count);
  }
  return needs;
}

/** Whose ports the batch itself may delete, so that a later item of it makes them anew. */
function portsBatchMayDelete(batch: readonly Item[]): (name: string) => boolean {
  const names = new Set<string>();
  for (const item of batch) {
    // Its name is free for a prolongation that comes late.
    if (item.kind === "claim" && item.claim.leasedPort !== undefined) names.add(item.claim.leasedPort);
    if (item.kind !== "release" && item.kind !== "deletePort" && item.kind !== "expire") continue;
    const name = nameOf(item);
    // A release that names no port may end any.
    if (name === undefined) return () => true;
    names.add(name);
  }
  return name => names.has(name);
}

/** Reachable networks that could serve the wish, the largest share of free addresses first; none for a bad wish. */
function findCandidates(wish: PlacementRequest, catalog: Catalog): NetworkRecord[] {
  let matching: readonly NetworkRecord[];
  try {
    matching = catalog.match(wish.networkSelector);
  } catch {
    return []; // The decision will say what is wrong with it.
  }
  if (matching.length === 1) return [...matching];
  return matching
    .filter(network => isReachable(network, wish))
    .map(network => ({ network, share: freeShare(network, wish.families) }))
    .sort((a, b) => b.share - a.share || a.network.id - b.network.id)
    .map(({ network }) => network);
}

type CountersOf = (subnet: SubnetRecord) => Pick<SubnetRecord, "held" | "outside">;

/** The smallest share of free addresses over the families, 0 to 1; those cooling down count as free. */
export function freeShare(
  network: NetworkRecord,
  families: readonly string[] | undefined,
  countersOf: CountersOf = subnet => subnet,
): number {
  let smallest = 1;
  const totals = { ipv4: { size: 0, free: 0 }, ipv6: { size: 0, free: 0 } };
  for (const subnet of network.subnets) {
    const total = totals[familyOf(subnet.cidr.version)];
    const { held, outside } = countersOf(subnet);
    const size = sizeNumberOf(subnet);
    total.size += size;
    total.free += size - (held - outside);
  }
  for (const family of ["ipv4", "ipv6"] as const) {
    const { size, free } = totals[family];
    if (families ? families.includes(family) : network.subnets.some(s => familyOf(s.cidr.version) === family)) {
      smallest = Math.min(smallest, size === 0 ? 0 : free / size);
    }
  }
  return smallest;
}

const sizes = new WeakMap<SubnetRecord, number>();

/** Rounded for large IPv6 pools: only shares are made of it. */
export function sizeNumberOf(subnet: SubnetRecord): number {
  let size = sizes.get(subnet);
  if (size === undefined) {
    size = Number(sizeOf(subnet));
    sizes.set(subnet, size);
  }
  return size;
}
