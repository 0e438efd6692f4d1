import type { PlacementRequest } from "../decide/needs.ts";
import type { NetworkRecord } from "./catalog.ts";

/** Whether the host that asks is in the network's zone and has its physical network; what is not told restricts nothing. */
export function isReachable(network: NetworkRecord, wish: PlacementRequest): boolean {
  const { availabilityZone: zone, physicalNetworks } = wish;
  if (zone !== undefined && network.availabilityZone !== undefined && zone !== network.availabilityZone) return false;
  return physicalNetworks === undefined || physicalNetworks.includes(network.segment.physicalNetwork);
}
