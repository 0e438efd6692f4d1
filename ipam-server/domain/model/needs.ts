import { contains, parseAddress, rangeOf } from "./address.ts";
import type { Catalog, NetworkRecord } from "./catalog.ts";
import { freeShare } from "./free-share.ts";
import type { Item } from "./mutation.ts";
import { isReachable, type PlacementRequest } from "./placement-request.ts";
import type { HeldIp } from "./port-record.ts";
import { type SlotNeed, SlotNeeds } from "./slots.ts";

/** Finds ports by where they are bound. */
export interface BindingKey {
  host: string;
  sandboxId: string | undefined;
  ownerUid: string | undefined;
}

/** Everything that the decisions on a batch may look up, so that the store can load it at once. */
export interface Needs {
  portNames: string[];
  bindings: BindingKey[];
  addresses: HeldIp[];
  macs: string[];
  /** Addresses whose holders are needed too. */
  holdersOf: HeldIp[];
  /** One for each application and interface. */
  slots: SlotNeed[];
}

/** Which networks' pools may be allocated from, and how many addresses of each at most. */
export type AllocationNeeds = Map<number, number>;

/** Derives the needs of a batch. Pure. */
export function planNeeds(batch: readonly Item[], catalog: Catalog): Needs {
  const portNames = new Set<string>();
  const macs = new Set<string>();
  const bindings: BindingKey[] = [];
  const addresses: HeldIp[] = [];
  const holdersOf: HeldIp[] = [];
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
    if (item.kind === "clearConflict") addresses.push(...locate(item.address, catalog));
    const request = placementRequestOf(item);
    if (request?.mac !== undefined) macs.add(request.mac.toLowerCase());
    for (const ip of request?.ips ?? []) addresses.push(...locate(ip, catalog));
    if (item.kind === "claim" && item.claim.plugged)
      holdersOf.push(...(item.claim.ips ?? []).flatMap(ip => locate(ip, catalog)));
  }
  return {
    portNames: [...portNames],
    bindings,
    addresses,
    macs: [...macs],
    holdersOf,
    slots: slots.toNeeds(portNames),
  };
}

export function nameOf(item: Item): string | undefined {
  if (item.kind === "claim") return item.claim.name;
  if (item.kind === "activate") return item.activation.name;
  if (item.kind === "release") return item.release.name;
  if (item.kind === "report" || item.kind === "workloadReport") return item.report.name;
  if (item.kind === "clearConflict") return undefined;
  return item.name;
}

function placementRequestOf(item: Item): PlacementRequest | undefined {
  if (item.kind === "claim") return item.claim;
  return item.kind === "reserve" ? item.reservation : undefined;
}

/** Every subnet's offset of an address. VPCs may overlap, so several subnets can contain it. */
export function locate(text: string, catalog: Catalog): HeldIp[] {
  const address = parseAddress(text);
  if (!address) return [];
  return catalog.networks
    .flatMap(network => network.subnets)
    .filter(({ cidr }) => cidr.version === address.version && contains(rangeOf(cidr), address.value))
    .map(({ id, cidr }) => ({ subnetId: id, offset: address.value - cidr.base }));
}

/**
 * The networks that the items without a port may get addresses of. Pure. Each new port goes to the network with the
 * largest share of free addresses, which lowers only that network's share: n new ports can only meet the first n.
 */
export function planAllocations(
  batch: readonly Item[],
  catalog: Catalog,
  exists: (name: string) => boolean,
): AllocationNeeds {
  const groups = new Map<string, { request: PlacementRequest; count: number }>();
  const mayBeDeleted = portsBatchMayDelete(batch);
  let count = 0;
  for (const item of batch) {
    const request = placementRequestOf(item);
    if (!request) continue;
    const mayReallocate = item.kind === "claim" && item.claim.onMismatch === "reallocate";
    const name = nameOf(item) ?? "";
    if (item.kind === "claim" && item.claim.leasedPort !== undefined) continue;
    if (!mayReallocate && exists(name) && !mayBeDeleted(name)) continue;
    count++;
    const { networkSelector, families, availabilityZone, physicalNetworks, ips } = request;
    const key =
      families || availabilityZone || physicalNetworks || ips
        ? JSON.stringify([networkSelector, families, availabilityZone, physicalNetworks, ips])
        : networkSelector;
    const group = groups.get(key);
    if (group) group.count++;
    else groups.set(key, { request, count: 1 });
  }
  const needs: AllocationNeeds = new Map();
  for (const { request } of groups.values()) {
    for (const network of findCandidates(request, catalog).slice(0, count)) needs.set(network.id, count);
  }
  return needs;
}

/** Which ports the batch itself may delete, so that a later item of it may create them again. */
function portsBatchMayDelete(batch: readonly Item[]): (name: string) => boolean {
  const names = new Set<string>();
  for (const item of batch) {
    // Its name becomes free: a late renewal of the lease then creates another port.
    if (item.kind === "claim" && item.claim.leasedPort !== undefined) names.add(item.claim.leasedPort);
    if (item.kind !== "release" && item.kind !== "deletePort" && item.kind !== "expire") continue;
    const name = nameOf(item);
    // A release that names no port may end any.
    if (name === undefined) return () => true;
    names.add(name);
  }
  return name => names.has(name);
}

/** Reachable networks that match, the largest share of free addresses first. Empty for an invalid selector. */
function findCandidates(request: PlacementRequest, catalog: Catalog): NetworkRecord[] {
  let matching: readonly NetworkRecord[];
  try {
    matching = catalog.match(request.networkSelector);
  } catch {
    return []; // The decision rejects the item and names the fault.
  }
  if (matching.length === 1) return [...matching];
  return matching
    .filter(network => isReachable(network, request))
    .map(network => ({ network, share: freeShare(network, request.families) }))
    .sort((a, b) => b.share - a.share || a.network.id - b.network.id)
    .map(({ network }) => network);
}
