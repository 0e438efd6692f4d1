import type { Deadline } from "../deadline.ts";
import { decodeAttributes, decodeU32, encodeAttribute, encodeU32, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import type { RouteSocket } from "./socket.ts";

// linux/rtnetlink.h, linux/if_addr.h
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const IFA_F_DADFAILED = 0x08;
const IFA_F_TENTATIVE = 0x40;
const AF_INET = 2;
const AF_INET6 = 10;

export interface LinkAddress {
  linkIndex: number;
  bytes: Buffer;
  prefixLength: number;
  /** Duplicate address detection (RFC 4862 section 5.4) is in progress: the address is not usable yet. */
  tentative: boolean;
  /** Another host on the segment uses it. */
  duplicate: boolean;
}

interface NewAddress {
  linkIndex: number;
  bytes: Buffer;
  prefixLength: number;
}

/** The kernel does no duplicate address detection of its own: the address was probed, or needs none. */
export async function addAddress(socket: RouteSocket, address: NewAddress, deadline: Deadline): Promise<void> {
  const { bytes, prefixLength, linkIndex } = address;
  const ipv4 = bytes.length === 4;
  const header = Buffer.alloc(8);
  header.writeUInt8(ipv4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt32LE(linkIndex, 4);
  const attributes = [encodeAttribute(IFA_LOCAL, bytes), encodeAttribute(IFA_ADDRESS, bytes)];
  if (ipv4 && prefixLength < 31) attributes.push(encodeAttribute(IFA_BROADCAST, deriveBroadcast(bytes, prefixLength)));
  if (!ipv4) attributes.push(encodeAttribute(IFA_FLAGS, encodeU32(IFA_F_NODAD)));
  await socket.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, [header, ...attributes], deadline);
}

/** Lists one link's addresses of both families. */
export async function fetchAddresses(
  socket: RouteSocket,
  linkIndex: number,
  deadline: Deadline,
): Promise<LinkAddress[]> {
  const messages = await socket.dump(RTM_GETADDR, [Buffer.alloc(8)], deadline);
  return messages.map(message => decodeAddress(message.payload)).filter(address => address.linkIndex === linkIndex);
}

function decodeAddress(payload: Buffer): LinkAddress {
  const attributes = decodeAttributes(payload.subarray(8));
  const flags = decodeU32(attributes.get(IFA_FLAGS)) ?? payload.readUInt8(2);
  return {
    linkIndex: payload.readUInt32LE(4),
    prefixLength: payload.readUInt8(1),
    bytes: attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? Buffer.alloc(0),
    tentative: (flags & IFA_F_TENTATIVE) !== 0,
    duplicate: (flags & IFA_F_DADFAILED) !== 0,
  };
}

function deriveBroadcast(bytes: Buffer, prefixLength: number): Buffer {
  return encodeBigEndian((bytes.readUInt32BE(0) | (0xffffffff >>> prefixLength)) >>> 0);
}

function encodeBigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
