import { setTimeout as delay } from "node:timers/promises";
import type { Attachment } from "../attachment.ts";
import { DatapathError, type DatapathStep } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import { disableTxChecksumOffload } from "../kernel/ethtool.ts";
import { parseIp } from "../kernel/ip-bytes.ts";
import { loadLibc } from "../kernel/libc.ts";
import { type Netns, openNetns } from "../kernel/netns.ts";
import { writeInterfaceSysctl } from "../kernel/sysctl.ts";
import { addAddress } from "../netlink/address.ts";
import { fetchLink, repeatMac } from "../netlink/link.ts";
import { NetlinkError, RouteSocket } from "../netlink/socket.ts";

/**
 * Opens a socket in the pod and, in the same entry of its netns, sets up the interface before it is up: software
 * checksums for the userspace datapath, address announcements (gratuitous ARP, unsolicited NA), no router
 * advertisements.
 */
export async function openPod(netns: Netns, attachment: Attachment, netdev: boolean): Promise<RouteSocket> {
  const { containerInterface: name } = attachment;
  const libc = await loadLibc();
  const open = await RouteSocket.load();
  return netns.run(() => {
    if (netdev) disableTxChecksumOffload(libc, name);
    setPodSysctls(attachment);
    return open();
  });
}

function setPodSysctls({ containerInterface: name, addresses }: Attachment): void {
  writeInterfaceSysctl("ipv4", name, "arp_notify", 1);
  // Each interface speaks for its own addresses only: two on one segment would both answer for both.
  writeInterfaceSysctl("ipv4", name, "arp_ignore", 1);
  writeInterfaceSysctl("ipv4", name, "arp_announce", 2);
  // Some runtimes disable IPv6 in sandboxes; setting an IPv6 address would then fail.
  const ipv6 = addresses.some(({ address }) => parseIp(address)?.length === 16);
  if (ipv6) writeInterfaceSysctl("ipv6", name, "disable_ipv6", 0);
  writeInterfaceSysctl("ipv6", name, "accept_ra", 0);
  writeInterfaceSysctl("ipv6", name, "accept_dad", 0);
  writeInterfaceSysctl("ipv6", name, "ndisc_notify", 1);
}

export async function addAddresses(
  socket: RouteSocket,
  linkIndex: number,
  { addresses, netns, containerInterface }: Attachment,
  deadline: Deadline,
): Promise<void> {
  for (const { address, prefixLength } of addresses) {
    const bytes = parseIp(address);
    if (bytes === undefined) throw new DatapathError("configure", `${JSON.stringify(address)} is not an IP address`);
    const what = `cannot set ${address}/${prefixLength} on ${containerInterface} in ${netns}`;
    await explain("configure", what, addAddress(socket, { linkIndex, bytes, prefixLength }, deadline));
  }
}

/** Converts the kernel's errno to a failure of `step` that says what was tried. */
export async function explain<T>(step: DatapathStep, what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof NetlinkError) throw new DatapathError(step, `${what}: ${error.message}`, error);
    throw error;
  }
}

/** The kernel reports a carrier at most once a second. */
const CARRIER_MS = 2000;
const PAUSE_MS = 20;

/** See NodeDatapath. */
export async function announce(path: string, containerInterface: string, deadline: Deadline): Promise<void> {
  using netns = openNetns(await loadLibc(), path);
  await using socket = await RouteSocket.open(netns);
  for (const until = performance.now() + CARRIER_MS; ; await delay(PAUSE_MS)) {
    const link = await fetchLink(socket, containerInterface, deadline);
    if (link === undefined || !link.up) {
      throw new DatapathError(
        "configure",
        `${containerInterface} in ${path} is not up and cannot announce its addresses`,
      );
    }
    // Without a carrier the kernel would drop the announcement.
    if (!link.hasCarrier && performance.now() < until) continue;
    await repeatMac(socket, link, deadline);
    return;
  }
}
