import { formatIp } from "../kernel/ip-bytes.ts";

/**
 * Probes of an address that another machine may use, as Ethernet frames: ARP with sender address 0 (RFC 5227 §1.1), and
 * neighbour solicitations from `::` (RFC 4862 §5.4.2). Neither changes a neighbour's cache.
 */

export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

const ETHERNET_BYTES = 14;
const ARP_BYTES = 28;
const IPV6_BYTES = 40;
const SOLICITATION_BYTES = 24;
const ICMPV6 = 58;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;

/** What a frame says of an address. */
export interface Answer {
  /** 4 or 16 bytes. */
  address: Buffer;
  mac: string;
}

/** `mac` is the sender's, 6 bytes; `address` has 4 or 16. */
export const buildProbe = (mac: Buffer, address: Buffer): Buffer =>
  address.length === 4 ? buildArpProbe(mac, address) : buildSolicitation(mac, address);

function buildArpProbe(mac: Buffer, address: Buffer): Buffer {
  const frame = Buffer.alloc(ETHERNET_BYTES + ARP_BYTES);
  frame.fill(0xff, 0, 6);
  mac.copy(frame, 6);
  frame.writeUInt16BE(ETHERTYPE_ARP, 12);
  // Ethernet, IPv4, lengths 6 and 4, request.
  Buffer.from([0, 1, 8, 0, 6, 4, 0, 1]).copy(frame, 14);
  mac.copy(frame, 22);
  address.copy(frame, 38);
  return frame;
}

function buildSolicitation(mac: Buffer, address: Buffer): Buffer {
  const frame = Buffer.alloc(ETHERNET_BYTES + IPV6_BYTES + SOLICITATION_BYTES);
  const suffix = address.subarray(13);
  Buffer.from([0x33, 0x33, 0xff, ...suffix]).copy(frame, 0);
  mac.copy(frame, 6);
  frame.writeUInt16BE(ETHERTYPE_IPV6, 12);
  const ip = frame.subarray(ETHERNET_BYTES);
  ip[0] = 0x60;
  ip.writeUInt16BE(SOLICITATION_BYTES, 4);
  ip[6] = ICMPV6;
  ip[7] = 255;
  // The solicited-node multicast address (RFC 4291 §2.7.1).
  Buffer.from("ff0200000000000000000001ff", "hex").copy(ip, 24);
  suffix.copy(ip, 37);
  const message = ip.subarray(IPV6_BYTES);
  message[0] = NEIGHBOUR_SOLICITATION;
  address.copy(message, 8);
  message.writeUInt16BE(checksum(ip.subarray(8, IPV6_BYTES), message), 2);
  return frame;
}

/** ICMPv6's, over the pseudo-header (RFC 4443 §2.3). */
function checksum(addresses: Buffer, message: Buffer): number {
  let sum = message.length + ICMPV6;
  for (const bytes of [addresses, message]) {
    for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The address that the frame's sender uses: by any ARP packet, or by a neighbour advertisement. */
export function parseAnswer(frame: Buffer): Answer | undefined {
  if (frame.length < ETHERNET_BYTES) return undefined;
  const type = frame.readUInt16BE(12);
  if (type === ETHERTYPE_ARP) return parseArp(frame);
  return type === ETHERTYPE_IPV6 ? parseAdvertisement(frame) : undefined;
}

function parseArp(frame: Buffer): Answer | undefined {
  if (frame.length < ETHERNET_BYTES + ARP_BYTES) return undefined;
  if (frame.readUInt32BE(14) !== 0x00010800 || frame.readUInt16BE(18) !== 0x0604) return undefined;
  const address = frame.subarray(28, 32);
  // Another host's probe, which has no address yet.
  return address.readUInt32BE(0) === 0 ? undefined : { address, mac: formatMac(frame.subarray(22, 28)) };
}

function parseAdvertisement(frame: Buffer): Answer | undefined {
  const message = frame.subarray(ETHERNET_BYTES + IPV6_BYTES);
  if (message.length < SOLICITATION_BYTES) return undefined;
  const [nextHeader, hopLimit] = [frame[20], frame[21]];
  // Hop limit 255: the sender is on the link (RFC 4861 §7.1.2).
  if (nextHeader !== ICMPV6 || hopLimit !== 255 || message[0] !== NEIGHBOUR_ADVERTISEMENT) return undefined;
  return { address: message.subarray(8, 24), mac: formatMac(frame.subarray(6, 12)) };
}

export const formatMac = (bytes: Buffer): string => bytes.toString("hex").match(/../g)?.join(":") ?? "";
export const parseMac = (text: string): Buffer => Buffer.from(text.replaceAll(":", ""), "hex");
export const isSameAddress = (a: Buffer, b: Buffer): boolean => formatIp(a) === formatIp(b);
