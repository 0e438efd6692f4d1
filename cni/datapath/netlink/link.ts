import type { Deadline } from "../deadline.ts";
import {
  decodeAttributes,
  decodeMac,
  decodeText,
  decodeU32,
  encodeAttribute,
  encodeMac,
  encodeText,
  encodeU32,
  NLM_F_CREATE,
  NLM_F_DUMP_INTR,
  NLM_F_EXCL,
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
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFF_UP = 1;

export interface Link {
  index: number;
  name: string;
  mac: string | undefined;
  mtu: number | undefined;
  up: boolean;
  alias: string | undefined;
  /** `veth`, `bridge` and so on; absent for hardware. */
  kind: string | undefined;
  /** Index of the other end of a veth, in that end's namespace. */
  peerIndex: number | undefined;
}

export interface VethPair {
  name: string;
  mac: string;
  /** Bytes; 0 leaves the kernel's default. */
  mtu: number;
  peer: { name: string; mac: string; netnsFd: number };
}

/** Makes both ends at once, the peer born inside its namespace: no moment at which it has another name or place. */
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
    linkHeader(0, 0, 0),
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

/** Every link of the namespace. A list that changed under way is read again, so that nothing is missing from it. */
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
  index: number,
  alias: string,
  deadline: Deadline,
): Promise<void> {
  await socket.request(
    RTM_SETLINK,
    0,
    [linkHeader(index, 0, 0), encodeAttribute(IFLA_IFALIAS, encodeText(alias))],
    deadline,
  );
}

export async function setLinkUp(socket: RouteSocket, index: number, deadline: Deadline): Promise<void> {
  await socket.request(RTM_SETLINK, 0, [linkHeader(index, IFF_UP, IFF_UP)], deadline);
}

/** False if it is gone already. The other end of a veth goes with it. */
export async function deleteLink(socket: RouteSocket, index: number, deadline: Deadline): Promise<boolean> {
  try {
    await socket.request(RTM_DELLINK, 0, [linkHeader(index, 0, 0)], deadline);
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENODEV") return false;
    throw error;
  }
}

/** `struct ifinfomsg` */
function linkHeader(index: number, flags: number, change: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeUInt32LE(change, 12);
  return bytes;
}

export function decodeLink(payload: Buffer): Link {
  const attributes = decodeAttributes(payload.subarray(16));
  const info = attributes.get(IFLA_LINKINFO);
  return {
    index: payload.readInt32LE(4),
    up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
    name: decodeText(attributes.get(IFLA_IFNAME)) ?? "",
    mac: decodeMac(attributes.get(IFLA_ADDRESS)),
    mtu: decodeU32(attributes.get(IFLA_MTU)),
    alias: decodeText(attributes.get(IFLA_IFALIAS)),
    kind: info && decodeText(decodeAttributes(info).get(IFLA_INFO_KIND)),
    peerIndex: decodeU32(attributes.get(IFLA_LINK)),
  };
}
