import type { Attachment, Plugged } from "./attachment.ts";
import { deriveExternalIds, findDifferences, findIdDifferences } from "./check.ts";
import type { DatapathContext, PlugStep } from "./context.ts";
import { DatapathError } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { deleteHostLink } from "./host-link.ts";
import { deriveAlias, deriveHostMac } from "./interface-name.ts";
import { loadLibc } from "./native.ts";
import { RTMGRP_IPV6_IFADDR } from "./netlink/address.ts";
import { createVeth, fetchLink, type Link, setLinkAlias, setLinkUp } from "./netlink/link.ts";
import { NetlinkError, RouteSocket } from "./netlink/socket.ts";
import { type Namespace, openNamespace } from "./netns.ts";
import { addPort, fetchPorts, missingBridge, removePorts, setExternalIds, waitForConfigured } from "./ovsdb/ports.ts";
import { addAddresses, addRoutes, awaitDad, explain, setOffloads, setPodSysctls } from "./pod.ts";
import { fetchSnapshot, type Snapshot } from "./snapshot.ts";
import { writeInterfaceSysctl } from "./sysctl.ts";

/** Plugs the attachment, or finds it plugged, or repairs what is half there by making it anew. */
export async function plug(context: DatapathContext, attachment: Attachment): Promise<Plugged> {
  const deadline = new Deadline(context.timeoutMs);
  checkInterfaceName(attachment.containerInterface);
  using namespace = openNamespace(await loadLibc(), attachment.netns);
  const found = await fetchSnapshot(context, attachment, namespace, deadline);
  if (found.ovs.bridge === undefined) throw missingBridge(attachment.bridge);
  const plugged = await adopt(context, attachment, found, deadline);
  if (plugged !== undefined) return plugged;
  await clear(context, attachment, found, deadline);
  // Awaited here: the namespace is held open until the end.
  return await plugAnew(context, attachment, namespace, found, deadline);
}

/** The kernel's own rule (dev_valid_name); the name becomes part of sysctl paths. */
function checkInterfaceName(name: string): void {
  if (/^[^\s/:]+$/.test(name) && Buffer.byteLength(name) <= 15 && name !== "." && name !== "..") return;
  throw new DatapathError(
    "veth",
    `${JSON.stringify(name)} is not an interface name: 1 to 15 bytes without space, / and :`,
  );
}

/** What is there already, if it is right. */
async function adopt(
  { ovsdb }: DatapathContext,
  attachment: Attachment,
  found: Snapshot,
  deadline: Deadline,
): Promise<Plugged | undefined> {
  const { hostLink } = found;
  const [row] = found.ovs.interfaces;
  if (hostLink === undefined || row?.ofport === undefined || findDifferences(attachment, found).length > 0)
    return undefined;
  if (findIdDifferences(attachment, found).length > 0) {
    await setExternalIds(ovsdb, row.uuid, attachment, deriveExternalIds(attachment), deadline);
  }
  return { hostInterface: hostLink.name, hostMac: hostLink.mac ?? "", ofport: row.ofport };
}

/** Removes leftovers of this identity and waits until OVS has let go of a device that may have had the same name. */
async function clear(
  context: DatapathContext,
  attachment: Attachment,
  found: Snapshot,
  deadline: Deadline,
): Promise<void> {
  let { pendingCfg } = found.ovs;
  if (found.ovs.ports.length > 0) {
    pendingCfg = await removePorts(context.ovsdb, found.ovs.ports, deadline);
  }
  if (found.hostLink !== undefined) await deleteHostLink(await context.hostSocket(), attachment, deadline);
  if (pendingCfg !== undefined) await waitForConfigured(context.ovsdb, pendingCfg, deadline);
}

async function plugAnew(
  context: DatapathContext,
  attachment: Attachment,
  namespace: Namespace,
  { ovs, freeName }: Snapshot,
  deadline: Deadline,
): Promise<Plugged> {
  const host = await context.hostSocket();
  const step = async (name: PlugStep) => context.onStep?.(name);
  if (freeName === undefined) throw new DatapathError("veth", "every name for the host interface is another pod's");
  const undo = new AsyncDisposableStack();
  try {
    undo.defer(async () => void (await deleteHostLink(host, attachment, new Deadline(context.timeoutMs))));
    await makeVeth(host, attachment, namespace, freeName, deadline);
    await step("veth");
    const link = await prepareHostLink(host, attachment, freeName, deadline);
    await step("host");

    // OVS takes its time to open the device; the pod's side needs nothing of it until the link goes up.
    const groups = attachment.skipDad ? 0 : RTMGRP_IPV6_IFADDR;
    await using pod = await RouteSocket.open(namespace, groups);
    undo.defer(() => removeOwnPorts(context, attachment));
    const [port, configured] = await Promise.allSettled([
      plugIntoOvs(context, attachment, freeName, deadline),
      configurePod(context, attachment, namespace, pod, ovs.bridge?.netdev ?? false, deadline),
    ]);
    if (port.status === "rejected") throw port.reason;
    if (configured.status === "rejected") throw configured.reason;

    const index = configured.value;
    // Last of all on the wire: the kernel announces the addresses now, and OVS is there to pass them on.
    await explain("configure", `cannot bring up ${attachment.containerInterface}`, setLinkUp(pod, index, deadline));
    await step("up");
    await addRoutes(pod, index, attachment, deadline);
    await step("route");
    await awaitDad(pod, index, attachment, deadline);
    await step("dad");
    undo.move();
    return { hostInterface: freeName, hostMac: link.mac ?? "", ofport: port.value };
  } catch (error) {
    throw await unwind(undo, error);
  }
}

async function makeVeth(
  host: RouteSocket,
  attachment: Attachment,
  namespace: Namespace,
  name: string,
  deadline: Deadline,
): Promise<void> {
  const { containerInterface, mac, mtu, netns } = attachment;
  const peer = { name: containerInterface, mac, netnsFd: namespace.fd };
  try {
    await createVeth(host, { name, mac: deriveHostMac(name), mtu, peer }, deadline);
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    const why = error.code === "EEXIST" ? `${containerInterface} exists already in ${netns}` : error.message;
    throw new DatapathError("veth", `cannot make ${containerInterface} in ${netns}: ${why}`, error);
  }
}

/** Names the link's owner, keeps the host's own IP stack off it and brings it up. */
async function prepareHostLink(
  host: RouteSocket,
  attachment: Attachment,
  name: string,
  deadline: Deadline,
): Promise<Link> {
  const link = await fetchLink(host, name, deadline);
  if (link === undefined) throw new DatapathError("veth", `${name} vanished while it was plugged`);
  const alias = deriveAlias(attachment.sandboxId, attachment.containerInterface);
  await explain("veth", `cannot set the alias of ${name}`, setLinkAlias(host, link.index, alias, deadline));
  writeInterfaceSysctl("ipv6", name, "disable_ipv6", 1);
  // The userspace datapath leaves frames to the host's stack too: it must not answer the pod's ARP for the host's own addresses.
  writeInterfaceSysctl("ipv4", name, "arp_ignore", 8);
  await explain("veth", `cannot bring up ${name}`, setLinkUp(host, link.index, deadline));
  return link;
}

async function plugIntoOvs(
  context: DatapathContext,
  attachment: Attachment,
  name: string,
  deadline: Deadline,
): Promise<number> {
  const { bridge, vlan } = attachment;
  const externalIds = deriveExternalIds(attachment);
  const ofport = await addPort(context.ovsdb, { bridge, name, vlan, externalIds, identity: attachment }, deadline);
  await context.onStep?.("ofport");
  return ofport;
}

/** All that can be done before the link is up. Resolves with the link's index in the pod. */
async function configurePod(
  context: DatapathContext,
  attachment: Attachment,
  namespace: Namespace,
  pod: RouteSocket,
  netdev: boolean,
  deadline: Deadline,
): Promise<number> {
  const { containerInterface: name, netns } = attachment;
  const link = await fetchLink(pod, name, deadline);
  if (link === undefined) throw new DatapathError("configure", `${name} vanished from ${netns} while it was plugged`);
  if (netdev) setOffloads(await loadLibc(), namespace, name);
  await context.onStep?.("offload");
  setPodSysctls(namespace, attachment);
  await context.onStep?.("sysctl");
  await addAddresses(pod, link.index, attachment, deadline);
  await context.onStep?.("address");
  return link.index;
}

async function removeOwnPorts({ ovsdb, timeoutMs }: DatapathContext, attachment: Attachment): Promise<void> {
  const deadline = new Deadline(timeoutMs);
  const ports = await fetchPorts(ovsdb, attachment, deadline);
  if (ports.length > 0) await removePorts(ovsdb, ports, deadline);
}

/** Undoes the steps in reverse, all of them whatever fails, and gives the error to throw. */
async function unwind(undo: AsyncDisposableStack, error: unknown): Promise<unknown> {
  try {
    await undo.disposeAsync();
    return error;
  } catch (undoError) {
    const step = error instanceof DatapathError ? error.step : "configure";
    const left = undoError instanceof SuppressedError ? undoError.error : undoError;
    const message = `${messageOf(error)}; and what was begun could not be undone: ${messageOf(left)}`;
    return new DatapathError(step, message, new AggregateError([error, undoError]));
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
