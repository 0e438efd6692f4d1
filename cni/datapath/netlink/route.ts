import type { Deadline } from "../deadline.ts";
import { decodeAttributes, decodeU32, encodeAttribute, encodeU32, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import { NetlinkError, type RouteSocket } from "./socket.ts";

// linux/rtnetlink.h
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_TABLE = 15;
export const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;
const AF_INET = 2;
const AF_INET6 = 10;

export interface LinkRoute {
  linkIndex: number;
  /** Destination; 4 or 16 bytes by family. */
  bytes: Buffer;
  prefixLength: number;
  /** Absent: on-link. */
  gateway: Buffer | undefined;
  table: number;
}

/**
 * Adds a route. False if the table has a route to this destination: a pod's first interface keeps its default route, and
 * the kernel adds on-link routes with addresses.
 */
export async function addRoute(socket: RouteSocket, route: LinkRoute, deadline: Deadline): Promise<boolean> {
  const { bytes, prefixLength, linkIndex, gateway, table } = route;
  const ipv4 = bytes.length === 4;
  const header = Buffer.from([
    ipv4 ? AF_INET : AF_INET6,
    prefixLength,
    0,
    0,
    // The table is in its attribute, because it may exceed this byte.
    0,
    RTPROT_STATIC,
    ipv4 && gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
    RTN_UNICAST,
    ...[0, 0, 0, 0],
  ]);
  const attributes = [encodeAttribute(RTA_OIF, encodeU32(linkIndex)), encodeAttribute(RTA_TABLE, encodeU32(table))];
  if (prefixLength > 0) attributes.push(encodeAttribute(RTA_DST, bytes));
  if (gateway !== undefined) attributes.push(encodeAttribute(RTA_GATEWAY, gateway));
  try {
    await socket.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, [header, ...attributes], deadline);
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "EEXIST") return false;
    throw error;
  }
}

/** Lists the unicast routes of all tables, both families. */
export async function fetchRoutes(socket: RouteSocket, deadline: Deadline): Promise<LinkRoute[]> {
  const messages = await socket.dump(RTM_GETROUTE, [Buffer.alloc(12)], deadline);
  return messages
    .filter(({ payload }) => payload.readUInt8(7) === RTN_UNICAST)
    .map(({ payload }) => decodeRoute(payload));
}

function decodeRoute(payload: Buffer): LinkRoute {
  const attributes = decodeAttributes(payload.subarray(12));
  return {
    linkIndex: decodeU32(attributes.get(RTA_OIF)) ?? 0,
    prefixLength: payload.readUInt8(1),
    bytes: attributes.get(RTA_DST) ?? Buffer.alloc(payload.readUInt8(0) === AF_INET ? 4 : 16),
    gateway: attributes.get(RTA_GATEWAY),
    table: decodeU32(attributes.get(RTA_TABLE)) ?? payload.readUInt8(4),
  };
}
