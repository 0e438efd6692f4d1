import type { Attachment } from "../attachment.ts";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import type { OvsdbClient } from "../ovsdb/client.ts";
import { fetchTopology, findReachable } from "./topology.ts";

/** Ethernet's, where the bridge has no uplink (IEEE 802.3). */
const DEFAULT_MTU = 1500;
/** The kernel refuses IPv6 on a link below its minimum with EINVAL, after half of a plug (RFC 8200 section 5). */
const MIN_IPV6_MTU = 1280;

/**
 * Returns the attachment's MTU, or if it states none the least of the uplinks that its bridge reaches, directly or by patch
 * ports: larger frames are lost there.
 */
export async function fetchMtu(
  ovsdb: OvsdbClient,
  { mtu: stated, bridge, addresses }: Pick<Attachment, "mtu" | "bridge" | "addresses">,
  deadline: Deadline,
): Promise<number> {
  if (stated > 0) return stated;
  const { bridges } = await fetchTopology(ovsdb, deadline);
  const reached = findReachable(bridges, ({ name }) => name === bridge);
  const mtus = [...reached].flatMap(({ ports }) => ports.flatMap(({ uplinkMtus }) => uplinkMtus));
  const mtu = mtus.length === 0 ? DEFAULT_MTU : Math.min(...mtus);
  const ipv6 = addresses.find(({ address }) => address.includes(":"))?.address;
  if (ipv6 === undefined || mtu >= MIN_IPV6_MTU) return mtu;
  const why = `an uplink of ${bridge} has the MTU ${mtu}, but ${ipv6} needs ${MIN_IPV6_MTU} or more`;
  throw new DatapathError("configure", `${why}: raise it, or declare the network's mtu`);
}
