import { getSystemErrorName } from "node:util";
import type { Deadline } from "../deadline.ts";
import {
  decodeAttributes,
  decodeMac,
  decodeMessages,
  decodeText,
  decodeU32,
  encodeAttribute,
  encodeMac,
  encodeMessage,
  encodeText,
  encodeU32,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP_INTR,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  NLMSG_ERROR,
} from "./message.ts";
import { NetlinkError, type RouteSocket } from "./socket.ts";

// linux/rtnetlink.h, linux/if_link.h, linux/if.h, linux/veth.h
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_GROUP = 27;
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFF_UP = 1;
const IFF_LOWER_UP = 0x10000;

/** The interface group of links pending deletion: "moor". Every link in it gets deleted. */
const PENDING_DELETION_GROUP = 0x6d6f6f72;

export interface Link {
  index: number;
  name: string;
  mac: string | undefined;
  mtu: number | undefined;
  up: boolean;
  hasCarrier: boolean;
  alias: string | undefined;
  /** `veth`, `bridge` and so on; absent for hardware. */
  kind: string | undefined;
  /** The peer's index, in the peer's netns. */
  peerIndex: number | undefined;
  /** Down, and about to be deleted. */
  isPendingDeletion: boolean;
}

interface VethPair {
  name: string;
  mac: string;
  /** Bytes; 0 leaves the kernel's default. */
  mtu: number;
  peer: { name: string; mac: string; netnsFd: number };
  /** True: this end stays down, so that the peer has no carrier and no frame passes. */
  isDown?: boolean;
}

/**
 * Creates both ends at once, the peer inside its netns under its final name. This end is up unless `isDown`, and has no
 * carrier until the peer is up.
 */
export async function createVeth(socket: RouteSocket, pair: VethPair, deadline: Deadline): Promise<void> {
  const mtu = pair.mtu > 0 ? [encodeAttribute(IFLA_MTU, encodeU32(pair.mtu))] : [];
  const peer = encodeAttribute(
    VETH_INFO_PEER,
    linkHeader(0, 0, 0),
    encodeAttribute(IFLA_IFNAME, encodeText(pair.peer.name)),
    encodeAttribute(IFLA_ADDRESS, encodeMac(pair.peer.mac)),
    encodeAttribute(IFLA_NET_NS_FD, encodeU32(pair.peer.netnsFd)),
    ...mtu,
  );
  const info = encodeAttribute(
    IFLA_LINKINFO,
    encodeAttribute(IFLA_INFO_KIND, encodeText("veth")),
    encodeAttribute(IFLA_INFO_DATA, peer),
  );
  const payload = [
    pair.isDown ? linkHeader(0, 0, 0) : linkHeader(0, IFF_UP, IFF_UP),
    encodeAttribute(IFLA_IFNAME, encodeText(pair.name)),
    encodeAttribute(IFLA_ADDRESS, encodeMac(pair.mac)),
    ...mtu,
    info,
  ];
  await socket.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, deadline);
}

/** Undefined if there is no link of this name. */
export async function fetchLink(socket: RouteSocket, name: string, deadline: Deadline): Promise<Link | undefined> {
  try {
    const payload = [linkHeader(0, 0, 0), encodeAttribute(IFLA_IFNAME, encodeText(name))];
    const [message] = await socket.request(RTM_GETLINK, 0, payload, deadline);
    return message && decodeLink(message.payload);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENODEV") return undefined;
    throw error;
  }
}

/** Lists all links of the netns. Repeats a dump that changed during reading, so that none is missing. */
export async function fetchLinks(socket: RouteSocket, deadline: Deadline): Promise<Link[]> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const messages = await socket.dump(RTM_GETLINK, [linkHeader(0, 0, 0)], deadline);
    if (messages.some(({ flags }) => (flags & NLM_F_DUMP_INTR) !== 0)) continue;
    return messages.filter(({ type }) => type === RTM_NEWLINK).map(({ payload }) => decodeLink(payload));
  }
  throw new NetlinkError("EINTR", "the links change faster than they can be listed");
}

export async function setLinkAlias(
  socket: RouteSocket,
  name: string,
  alias: string,
  deadline: Deadline,
): Promise<void> {
  const attributes = [encodeAttribute(IFLA_IFNAME, encodeText(name)), encodeAttribute(IFLA_IFALIAS, encodeText(alias))];
  await socket.request(RTM_SETLINK, 0, [linkHeader(0, 0, 0), ...attributes], deadline);
}

export async function setLinkUp(socket: RouteSocket, index: number, deadline: Deadline): Promise<void> {
  await socket.request(RTM_SETLINK, 0, [linkHeader(index, IFF_UP, IFF_UP)], deadline);
}

export async function setLinkDown(socket: RouteSocket, index: number, deadline: Deadline): Promise<void> {
  await socket.request(RTM_SETLINK, 0, [linkHeader(index, 0, IFF_UP)], deadline);
}

/** Sets the MAC that the link has: the kernel then announces its addresses again (`arp_notify`, `ndisc_notify`). */
export async function repeatMac(socket: RouteSocket, { index, mac }: Link, deadline: Deadline): Promise<void> {
  if (mac === undefined) return;
  await socket.request(
    RTM_SETLINK,
    0,
    [linkHeader(index, 0, 0), encodeAttribute(IFLA_ADDRESS, encodeMac(mac))],
    deadline,
  );
}

/** Deletes the link and its peer. False if it does not exist. */
export async function deleteLink(socket: RouteSocket, index: number, deadline: Deadline): Promise<boolean> {
  try {
    await socket.request(RTM_DELLINK, 0, [linkHeader(index, 0, 0)], deadline);
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENODEV") return false;
    throw error;
  }
}

/** Takes the link down, which stops its traffic, and marks it for the next deletion of the group. */
export async function markForDeletion(socket: RouteSocket, index: number, deadline: Deadline): Promise<void> {
  const group = encodeAttribute(IFLA_GROUP, encodeU32(PENDING_DELETION_GROUP));
  try {
    await socket.request(RTM_SETLINK, 0, [linkHeader(index, 0, IFF_UP), group], deadline);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENODEV") return;
    throw error;
  }
}

/** Encodes the deletion of all marked links, for a socket of its own. */
export function encodeGroupDeletion(): Buffer {
  const payload = Buffer.concat([linkHeader(0, 0, 0), encodeAttribute(IFLA_GROUP, encodeU32(PENDING_DELETION_GROUP))]);
  return encodeMessage({ type: RTM_DELLINK, flags: NLM_F_REQUEST | NLM_F_ACK, seq: 1, port: 0, payload });
}

/** Returns the errno name in the kernel's answer; undefined for success. */
export function readOutcome(bytes: Buffer): string | undefined {
  const answer = decodeMessages(bytes).find(({ type }) => type === NLMSG_ERROR);
  const errno = answer?.payload.readInt32LE(0) ?? 0;
  return errno === 0 ? undefined : getSystemErrorName(errno);
}

/** `struct ifinfomsg` */
function linkHeader(index: number, flags: number, change: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeUInt32LE(change, 12);
  return bytes;
}

function decodeLink(payload: Buffer): Link {
  const attributes = decodeAttributes(payload.subarray(16));
  const info = attributes.get(IFLA_LINKINFO);
  return {
    index: payload.readInt32LE(4),
    up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
    hasCarrier: (payload.readUInt32LE(8) & IFF_LOWER_UP) !== 0,
    name: decodeText(attributes.get(IFLA_IFNAME)) ?? "",
    mac: decodeMac(attributes.get(IFLA_ADDRESS)),
    mtu: decodeU32(attributes.get(IFLA_MTU)),
    alias: decodeText(attributes.get(IFLA_IFALIAS)),
    kind: info && decodeText(decodeAttributes(info).get(IFLA_INFO_KIND)),
    peerIndex: decodeU32(attributes.get(IFLA_LINK)),
    isPendingDeletion: decodeU32(attributes.get(IFLA_GROUP)) === PENDING_DELETION_GROUP,
  };
}
