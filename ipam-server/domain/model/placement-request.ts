import type { Claim, PortReservation } from "../../contract/index.ts";
import type { NetworkRecord } from "./catalog.ts";

/** The part of a claim or a reservation that chooses network, addresses and MAC. */
export type PlacementRequest = Pick<
  Claim & PortReservation,
  "networkSelector" | "families" | "ips" | "mac" | "plugged" | "availabilityZone" | "physicalNetworks"
> & { host?: string };

/** True if the host is in the network's zone and has its physical network. An absent field restricts nothing. */
export function isReachable(network: NetworkRecord, request: PlacementRequest): boolean {
  const { availabilityZone: zone, physicalNetworks } = request;
  if (zone !== undefined && network.availabilityZone !== undefined && zone !== network.availabilityZone) return false;
  return physicalNetworks === undefined || physicalNetworks.includes(network.segment.physicalNetwork);
}
