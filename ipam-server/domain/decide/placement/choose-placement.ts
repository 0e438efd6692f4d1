import { IpamError, type IpFamily } from "../../../contract/index.ts";
import {
  contains,
  familyOf,
  findRange,
  formatAddress,
  type ParsedAddress,
  parseAddress,
  rangeOf,
} from "../../model/address.ts";
import type { NetworkRecord, SubnetRecord } from "../../model/catalog.ts";
import { freeShare, sizeNumberOf } from "../../model/free-share.ts";
import { isReachable, type PlacementRequest } from "../../model/placement-request.ts";
import { type HeldIp, type PlacedPort, toTimestamp } from "../../model/port-record.ts";
import type { DecisionScope } from "../decision-scope.ts";
import type { WorkingState } from "../working-state.ts";
import { checkMac } from "./check-mac.ts";
import { list, listNames, noMatchError, type Shortage, shortageError, unreachableError } from "./placement-errors.ts";

/** The network, addresses and MAC chosen for a port. Nothing is held yet. */
export interface Placement {
  network: NetworkRecord;
  ips: HeldIp[];
  mac: string;
  /** True if the last holder of every address was released by its own host. */
  previousBindingReleased: boolean;
}

interface Picked {
  ip: HeldIp;
  /** True if its last holder was released by its own host, and the address was not asked for. */
  released: boolean;
}

interface PlacementSearch {
  request: PlacementRequest;
  wanted: readonly ParsedAddress[];
  port: PlacedPort;
  scope: DecisionScope;
  /** Every subnet that had no free address so far. */
  shortages: Shortage[];
}

/**
 * Chooses network, addresses and MAC of a port. One that exists keeps its network, and on it every address and the MAC, as
 * far as they fit the request; without `mayMove` it never leaves it. Throws the IpamError that explains why none fits.
 */
export function choosePlacement(
  request: PlacementRequest,
  port: PlacedPort,
  scope: DecisionScope,
  { mayMove = true }: { mayMove?: boolean } = {},
): Placement {
  const { working, context } = scope;
  const wanted = parseWantedIps(request);
  const search: PlacementSearch = { request, wanted, port, scope, shortages: [] };
  const matching = working.catalog.match(request.networkSelector);
  const own = matching.filter(({ id }) => id === port.networkId);
  const networks = findNetworks(request, wanted, mayMove ? matching : own, working);
  const kept = networks.filter(network => own.includes(network));
  const left = new Set(kept.length > 0 ? kept : networks);
  let firstError: IpamError | undefined;
  while (left.size > 0) {
    const network = largestShare(left, request.families, working);
    left.delete(network);
    try {
      const picked = pickAddresses(network, search);
      if (!picked) continue;
      const ips = picked.map(({ ip }) => ip);
      const mac = checkMac(request.mac, { network, ips, port, isPlugged: request.plugged }, working);
      return { network, ips, mac, previousBindingReleased: picked.every(({ released }) => released) };
    } catch (error) {
      // A wanted address or MAC that is in use on one network may be free on another.
      if (!(error instanceof IpamError)) throw error;
      firstError ??= error;
    }
  }
  throw firstError ?? shortageError(request, search.shortages, context.reuseDelayMs);
}

/** The wanted addresses, parsed. Throws `invalid_request` for two of one family or one outside the families. */
export function parseWantedIps({ ips = [], families }: Pick<PlacementRequest, "ips" | "families">): ParsedAddress[] {
  const wanted = ips.map((text, index) => {
    const address = parseAddress(text);
    if (!address)
      throw invalid(`ips[${index}]`, `${JSON.stringify(text)} is no IP address; expected one such as 10.0.0.7`);
    if (families && !families.includes(familyOf(address.version))) {
      throw invalid(`ips[${index}]`, `${text} is not of the families asked for (${families.join(", ")})`);
    }
    return address;
  });
  if (new Set(wanted.map(({ version }) => version)).size < wanted.length) {
    throw invalid("ips", `${ips.join(" and ")} are of one family; expected at most one address a family`);
  }
  if (families?.length === 0) throw invalid("families", "families is empty; leave it out or name ipv4, ipv6 or both");
  return wanted;
}

const invalid = (field: string, message: string) => new IpamError("invalid_request", message, { field });

function findNetworks(
  request: PlacementRequest,
  wanted: readonly ParsedAddress[],
  matching: readonly NetworkRecord[],
  working: WorkingState,
): NetworkRecord[] {
  if (request.plugged) return findPluggedNetworks(request, wanted, working);
  if (matching.length === 0) throw noMatchError(request, working.catalog);
  const reachable = matching.filter(network => isReachable(network, request));
  if (reachable.length === 0) throw unreachableError(request, matching);
  const able = reachable.filter(network => hasFamilies(network, request.families));
  if (able.length === 0) {
    const asked = request.families?.join(" and ") ?? "any";
    const names = listNames(reachable);
    throw new IpamError("no_address_available", `no subnet for ${asked} addresses on ${names}; add one to the network`);
  }
  const containing = able.filter(network => wanted.every(address => subnetOf(network, address) !== undefined));
  if (containing.length === 0) {
    const addresses = wanted.map(({ version, value }) => formatAddress(version, value)).join(" and ");
    const cidrs = able.flatMap(network => network.subnets.map(({ cidr }) => cidr.text));
    throw invalid(
      "ips",
      `the wanted address ${addresses} is in no subnet of the networks that match; expected one of ${list(cidrs)}`,
    );
  }
  return containing;
}

/** The network is the one that has the plugged addresses, also if its labels have changed. */
function findPluggedNetworks(
  request: PlacementRequest,
  wanted: readonly ParsedAddress[],
  { catalog }: WorkingState,
): NetworkRecord[] {
  const containing = catalog.networks.filter(
    network => isReachable(network, request) && wanted.every(address => subnetOf(network, address) !== undefined),
  );
  if (containing.length > 0) {
    // Networks of several VPCs may have the same addresses.
    const matching = catalog.match(request.networkSelector).filter(network => containing.includes(network));
    return matching.length > 0 ? matching : containing;
  }
  const addresses = wanted.map(({ version, value }) => formatAddress(version, value)).join(" and ");
  throw invalid("ips", `the plugged address ${addresses} is in no subnet that this host reaches; declare its network`);
}

function hasFamilies(network: NetworkRecord, families: readonly IpFamily[] | undefined): boolean {
  if (!families) return network.subnets.length > 0;
  return families.every(family => network.subnets.some(({ cidr }) => familyOf(cidr.version) === family));
}

function subnetOf(network: NetworkRecord, { version, value }: ParsedAddress): SubnetRecord | undefined {
  return network.subnets.find(({ cidr }) => cidr.version === version && contains(rangeOf(cidr), value));
}

function largestShare(
  networks: ReadonlySet<NetworkRecord>,
  families: readonly IpFamily[] | undefined,
  working: WorkingState,
): NetworkRecord {
  let best: NetworkRecord | undefined;
  let bestShare = -1;
  for (const network of networks) {
    const share = networks.size === 1 ? 1 : freeShare(network, families, subnet => working.counters(subnet));
    if (share > bestShare || (share === bestShare && network.id < (best?.id ?? 0))) {
      best = network;
      bestShare = share;
    }
  }
  if (!best) throw new Error("there is no network to choose from");
  return best;
}

/** One address of each family; undefined when a family has none free, which is added to the search's shortages. */
function pickAddresses(network: NetworkRecord, search: PlacementSearch): Picked[] | undefined {
  const own = heldOn(network, search);
  // Families that no one asks for are not added to a port that exists.
  const families = search.request.families ?? (own.length > 0 ? familiesOf([...own, ...search.wanted]) : undefined);
  const picked: Picked[] = [];
  for (const version of [4, 6] as const) {
    if (search.request.plugged && !search.wanted.some(address => address.version === version)) continue;
    const subnets = network.subnets.filter(({ cidr }) => cidr.version === version);
    if (families ? !families.includes(familyOf(version)) : subnets.length === 0) continue;
    const address = search.wanted.find(candidate => candidate.version === version);
    const subnet = address && subnetOf(network, address);
    const kept = own.find(held => held.version === version);
    const found =
      address && subnet
        ? pickWanted(subnet, address, search)
        : kept
          ? { ip: kept.ip, released: false }
          : pickAny(network, subnets, search);
    if (!found) return undefined;
    picked.push(found);
  }
  return picked;
}

/** The addresses that the port holds on the network. */
function heldOn(network: NetworkRecord, { port, scope }: PlacementSearch): { ip: HeldIp; version: 4 | 6 }[] {
  if (port.networkId !== network.id) return [];
  return (port.fixedIps ?? []).map(ip => ({ ip, version: scope.working.catalog.subnet(ip.subnetId).cidr.version }));
}

const familiesOf = (addresses: readonly { version: 4 | 6 }[]): IpFamily[] =>
  addresses.map(({ version }) => familyOf(version));

function pickWanted(
  subnet: SubnetRecord,
  { version, value }: ParsedAddress,
  { request, port, scope: { working, context } }: PlacementSearch,
): Picked {
  const ip = { subnetId: subnet.id, offset: value - subnet.cidr.base };
  const text = formatAddress(version, value);
  const barred = subnet.unusable.find(({ ranges }) => findRange(ranges, ip.offset));
  if (barred && !request.plugged)
    throw invalid("ips", `the wanted address ${text} is ${barred.why} of subnet ${subnet.cidr.text}; choose another`);
  const state = working.address(ip);
  if (!state) return { ip, released: false };
  if ("heldBy" in state) {
    if (state.heldBy === port.key) return { ip, released: false };
    throw new IpamError(
      "address_in_use",
      `the wanted address ${text} is held by another port; \`mooringctl get ports --ip ${text}\` shows which`,
      { field: "ips" },
    );
  }
  if (state.conflict) {
    const { mac, host } = state.conflict;
    const at = toTimestamp(state.freedAt);
    throw new IpamError(
      "address_in_use",
      `the wanted address ${text} is used by another machine: MAC ${mac} answered for it to host ${host} at ${at}; remove that machine and clear the address (mooringctl delete conflict ${text}), or choose another`,
      { field: "ips" },
    );
  }
  const waitMs = state.freedAt + context.reuseDelayMs - context.now;
  if (waitMs > 0 && state.lastPort !== port.name && !request.plugged) {
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    throw new IpamError(
      "address_in_use",
      `the wanted address ${text} was freed by port ${state.lastPort} and waits ${retryAfterSeconds} s more before another port may have it`,
      { field: "ips", retryAfterSeconds },
    );
  }
  return { ip, released: false };
}

/** The next never-used address in order of the pools; else the one freed longest ago, if its reuse delay is over. */
function pickAny(
  network: NetworkRecord,
  subnets: readonly SubnetRecord[],
  { scope: { working, context }, shortages }: PlacementSearch,
): Picked | undefined {
  const share = (subnet: SubnetRecord) => {
    const { held, outside } = working.counters(subnet);
    return 1 - (held - outside) / Math.max(sizeNumberOf(subnet), 1);
  };
  const ordered = subnets.length === 1 ? subnets : subnets.toSorted((a, b) => share(b) - share(a) || a.id - b.id);
  for (const subnet of ordered) {
    const offset = working.nextFresh(subnet);
    if (offset !== undefined) return { ip: { subnetId: subnet.id, offset }, released: false };
  }
  for (const subnet of ordered) {
    const oldest = working.oldestFreed(subnet);
    const waitMs = oldest && oldest.freedAt + context.reuseDelayMs - context.now;
    if (oldest && waitMs !== undefined && waitMs <= 0) {
      return { ip: { subnetId: subnet.id, offset: oldest.offset }, released: oldest.released };
    }
    const { held, freed } = working.counters(subnet);
    shortages.push({ network, subnet, held, freed, waitMs });
  }
  return undefined;
}
