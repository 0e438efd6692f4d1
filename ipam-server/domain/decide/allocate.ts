import { IpamError, type IpFamily } from "../../contract/index.ts";
import { contains, familyOf, formatAddress, type ParsedAddress, parseAddress, rangeOf } from "../model/address.ts";
import { addressAt, type NetworkRecord, type SubnetRecord } from "../model/catalog.ts";
import type { HeldIp } from "../model/port-record.ts";
import { isReachable } from "../model/reachable.ts";
import { checkMac } from "./check-mac.ts";
import { freeShare, type PlacementRequest, sizeNumberOf } from "./needs.ts";
import { describeShortage, describeUnreachable, list, listNames, noMatchError, type Shortage } from "./refusals.ts";
import type { WorkingState } from "./working-state.ts";

/** What the store and its configuration tell the decisions beside the snapshot. */
/** Long enough for an outage of the IPAM that people sleep through. */
export const LEASE_MS = 3_600_000;

export interface DecisionContext {
  /** Milliseconds since the epoch; one moment for the whole batch. */
  now: number;
  /** How long a freed address waits before another port may have it. */
  reuseDelayMs: number;
  /** How long a node may give away a leased address after it was leased or prolonged. */
  leaseMs: number;
  /** True: a fabric driver reports the overlay plane. False: the fabric is static, the overlay always ready. */
  fabricManaged: boolean;
  /**
   * Every new binding's epoch is greater. Of a store restored from a backup: bindings made after the backup was taken,
   * which it knows nothing of, must not be newer than those to come. Default 0.
   */
  epochFloor?: number;
  /** A new unique port id. */
  newId: () => string;
}

/** Where a port goes. Nothing is held yet. */
export interface Placement {
  network: NetworkRecord;
  ips: HeldIp[];
  mac: string;
  /** No address of it is still cooling down. */
  previousBindingReleased: boolean;
}

interface Picked {
  ip: HeldIp;
  cooling: boolean;
}

/** Chooses network, addresses and MAC of a port. Throws the IpamError that says why none will do. */
export function choosePlacement(
  wish: PlacementRequest,
  port: { name: string; key: number },
  working: WorkingState,
  context: DecisionContext,
): Placement {
  const wanted = parseWantedIps(wish);
  const candidates = findNetworks(wish, wanted, working);
  let refusal: IpamError | undefined;
  const shortages: Shortage[] = [];
  const left = new Set(candidates);
  while (left.size > 0) {
    const network = largestShare(left, wish.families, working);
    left.delete(network);
    try {
      const picked = pickIn(network, wish.families, wanted, port.name, working, context, shortages);
      if (!picked) continue;
      const ips = picked.map(({ ip }) => ip);
      const mac = checkMac(wish.mac, network, ips, port, working);
      return { network, ips, mac, previousBindingReleased: !picked.some(({ cooling }) => cooling) };
    } catch (error) {
      // A wanted address or MAC that one network refuses may be free on another.
      if (!(error instanceof IpamError)) throw error;
      refusal ??= error;
    }
  }
  throw refusal ?? describeShortage(wish, shortages, context.reuseDelayMs);
}

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
  wish: PlacementRequest,
  wanted: readonly ParsedAddress[],
  working: WorkingState,
): NetworkRecord[] {
  const matching = working.catalog.match(wish.networkSelector);
  if (matching.length === 0) throw noMatchError(wish, working);
  const reachable = matching.filter(network => isReachable(network, wish));
  if (reachable.length === 0) throw describeUnreachable(wish, matching);
  const able = reachable.filter(network => hasFamilies(network, wish.families));
  if (able.length === 0) {
    const asked = wish.families?.join(" and ") ?? "any";
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

/** One address a family, or undefined when a family has none to give (noted in `shortages`). */
function pickIn(
  network: NetworkRecord,
  families: readonly IpFamily[] | undefined,
  wanted: readonly ParsedAddress[],
  portName: string,
  working: WorkingState,
  context: DecisionContext,
  shortages: Shortage[],
): Picked[] | undefined {
  const picked: Picked[] = [];
  for (const version of [4, 6] as const) {
    const subnets = network.subnets.filter(({ cidr }) => cidr.version === version);
    if (families ? !families.includes(familyOf(version)) : subnets.length === 0) continue;
    const address = wanted.find(candidate => candidate.version === version);
    const subnet = address && subnetOf(network, address);
    const found =
      address && subnet
        ? pickWanted(subnet, address, portName, working, context)
        : pickAny(subnets, working, context, shortage => shortages.push({ network, ...shortage }));
    if (!found) return undefined;
    picked.push(found);
  }
  return picked;
}

function pickWanted(
  subnet: SubnetRecord,
  { version, value }: ParsedAddress,
  portName: string,
  working: WorkingState,
  context: DecisionContext,
): Picked {
  const ip = { subnetId: subnet.id, offset: value - subnet.cidr.base };
  const text = formatAddress(version, value);
  const barred = subnet.unusable.find(({ range }) => contains(range, ip.offset));
  if (barred)
    throw invalid("ips", `the wanted address ${text} is ${barred.why} of subnet ${subnet.cidr.text}; choose another`);
  const state = working.address(ip);
  if (!state) return { ip, cooling: false };
  if ("heldBy" in state) {
    throw new IpamError(
      "address_in_use",
      `the wanted address ${text} is held by another port; \`mooringctl get ports --ip ${text}\` shows which`,
      { field: "ips" },
    );
  }
  const waitMs = state.freedAt + context.reuseDelayMs - context.now;
  if (waitMs > 0 && state.lastPort !== portName) {
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    throw new IpamError(
      "address_in_use",
      `the wanted address ${text} was freed by port ${state.lastPort} and waits ${retryAfterSeconds} s more before another port may have it`,
      { field: "ips", retryAfterSeconds },
    );
  }
  return { ip, cooling: waitMs > 0 };
}

/** Never-used addresses first, in order of the pools; then the one freed longest ago, if its delay is over (§ allocation). */
function pickAny(
  subnets: readonly SubnetRecord[],
  working: WorkingState,
  context: DecisionContext,
  fallShort: (shortage: Omit<Shortage, "network">) => void,
): Picked | undefined {
  const share = (subnet: SubnetRecord) => {
    const { held, outside } = working.counters(subnet);
    return 1 - (held - outside) / Math.max(sizeNumberOf(subnet), 1);
  };
  const ordered = subnets.length === 1 ? subnets : subnets.toSorted((a, b) => share(b) - share(a) || a.id - b.id);
  for (const subnet of ordered) {
    for (const pool of subnet.ranges) {
      const offset = working.nextFresh(subnet, pool);
      if (offset !== undefined) return { ip: { subnetId: subnet.id, offset }, cooling: false };
    }
  }
  for (const subnet of ordered) {
    const oldest = working.oldestFreed(subnet);
    const waitMs = oldest && oldest.freedAt + context.reuseDelayMs - context.now;
    if (oldest && waitMs !== undefined && waitMs <= 0) {
      return { ip: { subnetId: subnet.id, offset: oldest.offset }, cooling: false };
    }
    const { held, freed } = working.counters(subnet);
    fallShort({ subnet, held, freed, waitMs });
  }
  return undefined;
}

/** The texts of held addresses, for events and messages. */
export const addressTexts = (ips: readonly HeldIp[], working: WorkingState): string[] =>
  ips.map(({ subnetId, offset }) => addressAt(working.catalog.subnet(subnetId), offset));
