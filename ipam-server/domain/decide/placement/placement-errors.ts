import { IpamError } from "../../../contract/index.ts";
import { type Catalog, type NetworkRecord, type SubnetRecord, sizeOf } from "../../model/catalog.ts";
import type { PlacementRequest } from "../../model/placement-request.ts";

/** A subnet that had no free address, with its counters at that moment. */
export interface Shortage {
  network: NetworkRecord;
  subnet: SubnetRecord;
  held: number;
  freed: number;
  /** Until the oldest freed address may be assigned again. */
  waitMs: number | undefined;
}

const MAX_LISTED = 5;

/** The first few of the texts, and how many more there are. */
export function list(texts: readonly string[]): string {
  const more = texts.length - MAX_LISTED;
  return texts.slice(0, MAX_LISTED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

export const listNames = (networks: readonly NetworkRecord[]) =>
  `network${networks.length > 1 ? "s" : ""} ${list(networks.map(({ name }) => name))}`;

export function noMatchError({ networkSelector }: PlacementRequest, { networks }: Catalog): IpamError {
  const labels = networks.map(
    ({ name, labels }) =>
      `${name} (${
        Object.entries(labels)
          .map(pair => pair.join("="))
          .join(",") || "no labels"
      })`,
  );
  const present =
    networks.length === 0
      ? "there are no networks; declare one with `mooringctl apply`"
      : `the ${networks.length} networks are: ${list(labels)}`;
  return new IpamError("no_matching_network", `no network matches the selector "${networkSelector}"; ${present}`, {
    field: "networkSelector",
  });
}

export function unreachableError(request: PlacementRequest, networks: readonly NetworkRecord[]): IpamError {
  const host = request.host === undefined ? "the host" : `host ${request.host}`;
  const reasons = networks.map(({ name, availabilityZone, segment }) =>
    request.availabilityZone !== undefined &&
    availabilityZone !== undefined &&
    availabilityZone !== request.availabilityZone
      ? `network ${name} is in availability zone ${availabilityZone}, the host in ${request.availabilityZone}`
      : `network ${name} is on physical network ${segment.physicalNetwork}, the host has ${request.physicalNetworks?.join(", ") || "none"}`,
  );
  return new IpamError("network_unreachable", `${host} cannot reach a network that matches: ${list(reasons)}`);
}

export function shortageError(
  request: PlacementRequest,
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
    `no free address for the selector "${request.networkSelector}": ${list(facts)}; ${next}`,
    retryAfterSeconds === undefined ? {} : { retryAfterSeconds },
  );
}
