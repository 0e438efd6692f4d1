import type { Deadline } from "../deadline.ts";
import type { OvsdbClient } from "../ovsdb/client.ts";
import { fetchTopology, findReachable } from "./topology.ts";

/** Ethernet's, where the bridge has no uplink (IEEE 802.3). */
const DEFAULT_MTU = 1500;

/** Returns the least MTU of the uplinks that the bridge reaches, directly or by patch ports: larger frames are lost there. */
export async function fetchUplinkMtu(ovsdb: OvsdbClient, bridge: string, deadline: Deadline): Promise<number> {
  const { bridges } = await fetchTopology(ovsdb, deadline);
  const reached = findReachable(bridges, ({ name }) => name === bridge);
  const mtus = [...reached].flatMap(({ ports }) => ports.flatMap(({ uplinkMtus }) => uplinkMtus));
  return mtus.length === 0 ? DEFAULT_MTU : Math.min(...mtus);
}
