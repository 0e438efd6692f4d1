import { IpamError } from "../../contract/index.ts";
import { type NetworkRecord, type SubnetRecord, sizeOf } from "../model/catalog.ts";
import type { PlacementRequest } from "./needs.ts";
import type { WorkingState } from "./working-state.ts";

/** A subnet that had no address to give, and how it stood then. */
export interface Shortage {
  network: NetworkRecord;
  subnet: SubnetRecord;
  held: number;
  freed: number;
  /** Until the oldest freed address may be handed out. */
  waitMs: number | undefined;
}

const MAX_LISTED = 5;

export function list(texts: readonly string[]): string {
  const more = texts.length - MAX_LISTED;
  return texts.slice(0, MAX_LISTED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

export const listNames = (networks: readonly NetworkRecord[]) =>
  `network${networks.length > 1 ? "s" : ""} ${list(networks.map(({ name }) => name))}`;

export function noMatchError({ networkSelector }: PlacementRequest, { catalog }: WorkingState): IpamError {
  const { networks } = catalog;
  const labels = networks.map(
    ({ name, labels }) =>
      `${name} (${
        Object.entries(labels)
          .map(pair => pair.join("="))
          .join(",") || "no labels"
      })`,
  );
  const there =
    networks.length === 0
      ? "there are no networks; declare one with `mooringctl apply`"
      : `the ${networks.length} networks are: ${list(labels)}`;
  return new IpamError("no_matching_network", `no network matches the selector "${networkSelector}"; ${there}`, {
    field: "networkSelector",
  });
}

export function describeUnreachable(wish: PlacementRequest, networks: readonly NetworkRecord[]): IpamError {
  const host = wish.host === undefined ? "the host" : `host ${wish.host}`;
  const reasons = networks.map(({ name, availabilityZone, segment }) =>
    wish.availabilityZone !== undefined && availabilityZone !== undefined && availabilityZone !== wish.availabilityZone
      ? `network ${name} is in availability zone ${availabilityZone}, the host in ${wish.availabilityZone}`
      : `network ${name} is on physical network ${segment.physicalNetwork}, the host has ${wish.physicalNetworks?.join(", ") || "none"}`,
  );
  return new IpamError("network_unreachable", `${host} cannot reach a network that matches: ${list(reasons)}`);
}

export function describeShortage(
  wish: PlacementRequest,
  shortages: readonly Shortage[],
  reuseDelayMs: number,
): IpamError {
  const facts = shortages.map(
    ({ network, subnet, held, freed }) =>
      `network ${network.name}, subnet ${subnet.cidr.text}: ${held} held, ${freed} cooling down, ${sizeOf(subnet)} in its pools`,
  );
  const waits = shortages.flatMap(({ waitMs }) => waitMs ?? []);
  const retryAfterSeconds = waits.length > 0 ? Math.ceil(Math.min(...waits) / 1000) : undefined;
  const next =
    retryAfterSeconds === undefined
      ? "release ports, or add a subnet or pool"
      : `the next one is free in ${retryAfterSeconds} s (reuse delay ${reuseDelayMs / 1000} s)`;
  return new IpamError(
    "no_address_available",
    `no free address for the selector "${wish.networkSelector}": ${list(facts)}; ${next}`,
    retryAfterSeconds === undefined ? {} : { retryAfterSeconds },
  );
}
