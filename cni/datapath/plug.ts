import type { Attachment, Plugged } from "./attachment.ts";
import { fetchMtu } from "./bridges/uplink-mtu.ts";
import type { DatapathContext, PlugStep } from "./datapath-context.ts";
import { AddressConflictError, DatapathError } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { deriveExternalIds, findDifferences, findIdDifferences } from "./differences.ts";
import { deleteHostLink } from "./host-link.ts";
import { deriveAlias, deriveHostInterfaces, deriveHostMac } from "./interface-name.ts";
import { loadLibc } from "./kernel/libc.ts";
import { type Netns, openNetns } from "./kernel/netns.ts";
import { writeInterfaceSysctl } from "./kernel/sysctl.ts";
import { createVeth, fetchLink, setLinkAlias, setLinkUp } from "./netlink/link.ts";
import { NetlinkError, type RouteSocket } from "./netlink/socket.ts";
import { fetchObservedState, fetchOvsState, type ObservedState, type OvsState } from "./observed-state.ts";
import { recordFenced, removeFenced } from "./ovsdb/fenced-ports.ts";
import { addPort, fetchPorts, missingBridge, removePorts, setExternalIds, waitForConfigured } from "./ovsdb/ports.ts";
import { removePodRules } from "./pod/own-table.ts";
import { addAddresses, explain, openPod } from "./pod/pod-interface.ts";
import { addRoutes, filterAddable, findRoutes } from "./pod/pod-routes.ts";
import type { ProbeConflict } from "./probe/probe.ts";

type ProbeAddresses = (() => Promise<ProbeConflict | undefined>) | undefined;

/** Plugs the attachment; keeps one that is correct, and rebuilds one that is not. See `Datapath.plug`. */
export async function plug(context: DatapathContext, attachment: Attachment, probe?: ProbeAddresses): Promise<Plugged> {
  const deadline = new Deadline(context.timeoutMs);
  assertInterfaceName(attachment.containerInterface);
  using netns = openNetns(await loadLibc(), attachment.netns);
  const state = await fetchOvsState(context, attachment, deadline);
  if (state.bridge === undefined) throw missingBridge(attachment.bridge);
  // Awaited here because the netns must stay open until the end.
  return (
    (await plugNew(context, attachment, netns, state, probe, deadline)) ??
    (await repairOrKeep(context, attachment, netns, state, probe, deadline))
  );
}

/**
 * The common case: OVS has no row of the sandbox and the kernel accepts the name, so nothing needs comparing.
 * Undefined, with nothing changed, if something exists after all.
 */
async function plugNew(
  context: DatapathContext,
  attachment: Attachment,
  netns: Netns,
  state: OvsState,
  probe: ProbeAddresses,
  deadline: Deadline,
): Promise<Plugged | undefined> {
  if (state.ports.length > 0 || state.interfaces.length > 0 || state.takenNames.size > 0) return undefined;
  const [name = ""] = deriveHostInterfaces(attachment.sandboxId, attachment.containerInterface);
  try {
    return await build(context, attachment, netns, state, name, probe, deadline);
  } catch (error) {
    const { step, cause } = error instanceof DatapathError ? error : {};
    if (step === "veth" && cause instanceof NetlinkError && cause.code === "EEXIST") return undefined;
    throw error;
  }
}

/** Keeps what exists if it is correct, else rebuilds it. */
async function repairOrKeep(
  context: DatapathContext,
  attachment: Attachment,
  netns: Netns,
  state: OvsState,
  probe: ProbeAddresses,
  deadline: Deadline,
): Promise<Plugged> {
  const found = await fetchObservedState(context, attachment, netns, state, deadline);
  const plugged = await adopt(context, attachment, found, deadline);
  if (plugged !== undefined) return plugged;
  await clear(context, found, deadline);
  if (found.freeName === undefined) {
    throw new DatapathError("veth", "all candidate names of the host interface belong to other pods");
  }
  return await build(context, attachment, netns, state, found.freeName, probe, deadline);
}

const RESERVED_NAMES = [".", "..", "all", "default"];

/** The kernel's rule (dev_valid_name, sysctl_dev_name_is_allowed); isspace() is true for 0xa0, and % numbers names. */
function assertInterfaceName(name: string): void {
  const isLong = Buffer.byteLength(name) > 15;
  if (/^[^\s/:%]+$/.test(name) && !isLong && !Buffer.from(name).includes(0xa0) && !RESERVED_NAMES.includes(name))
    return;
  const accepts = '1 to 15 bytes without space, /, : and %, no byte 0xa0, and not ".", "..", "all" or "default"';
  throw new DatapathError("veth", `${JSON.stringify(name)} is not an interface name: ${accepts}`);
}

/** Returns the existing attachment if it is correct. */
async function adopt(
  { ovsdb }: DatapathContext,
  attachment: Attachment,
  found: ObservedState,
  deadline: Deadline,
): Promise<Plugged | undefined> {
  const { hostLink, pod } = found;
  const [row] = found.ovs.interfaces;
  if (hostLink === undefined || pod === undefined || row?.ofport === undefined) return undefined;
  const routes = filterAddable(attachment.routes, pod.link.index, pod.routes);
  if (findDifferences({ ...attachment, routes }, found).length > 0) return undefined;
  if (findIdDifferences(attachment, found).length > 0) {
    await setExternalIds(ovsdb, row.uuid, attachment, deriveExternalIds(attachment), deadline);
  }
  return {
    hostInterface: hostLink.name,
    hostMac: hostLink.mac ?? "",
    mtu: hostLink.mtu ?? 0,
    ofport: row.ofport,
    routes: findRoutes(attachment, pod.link.index, pod.routes),
  };
}

/** Removes this identity's OVS ports and link. */
async function clear(context: DatapathContext, found: ObservedState, deadline: Deadline): Promise<void> {
  if (found.ovs.ports.length > 0) {
    found.ovs.pendingCfg = await removePorts(context.ovsdb, found.ovs.ports, deadline);
  }
  if (found.hostLink !== undefined) await context.removal.remove(found.hostLink, deadline);
  // A link pending deletion may still hold the name in the pod.
  else await context.removal.finish(deadline);
}

async function build(
  context: DatapathContext,
  attachment: Attachment,
  netns: Netns,
  { bridge, pendingCfg }: OvsState,
  name: string,
  probe: ProbeAddresses,
  deadline: Deadline,
): Promise<Plugged> {
  // Wait until OVS has released a device of this name: when it does, it takes down whichever device has the name then.
  if (pendingCfg !== undefined) await waitForConfigured(context.ovsdb, pendingCfg, deadline);
  const [host, mtu] = await Promise.all([context.hostSocket(), fetchMtu(context.ovsdb, attachment, deadline)]);
  const step = async (name: PlugStep) => context.onStep?.(name);
  // Overlaps with all that goes before the link is up. Awaited late; until then a failure must not count as unhandled.
  const probed = probe?.();
  probed?.catch(() => undefined);
  const undo = new AsyncDisposableStack();
  try {
    undo.defer(async () => void (await deleteHostLink(context, attachment, new Deadline(context.timeoutMs))));
    await createPodVeth(host, { ...attachment, mtu }, netns, name, deadline);
    await step("veth");

    // OVS opens the device while the links are configured; only the pod's link waits for it.
    undo.defer(() => removeFromOvs(context, attachment));
    const [port, configured] = await Promise.allSettled([
      plugIntoOvs(context, attachment, name, deadline),
      configureLinks(context, attachment, { host, netns, name, netdev: bridge?.netdev ?? false }, deadline),
    ]);
    await using opened = new AsyncDisposableStack();
    if (configured.status === "fulfilled") opened.use(configured.value.pod);
    if (port.status === "rejected") throw port.reason;
    if (configured.status === "rejected") throw configured.reason;

    const { pod, index } = configured.value;
    const conflict = await probed;
    if (conflict) throw new AddressConflictError(conflict);
    await step("probe");
    // Bring the link up last: the kernel then announces the addresses, and OVS forwards them.
    await explain("configure", `cannot bring up ${attachment.containerInterface}`, setLinkUp(pod, index, deadline));
    await step("up");
    undo.defer(() => removePodRules(netns, attachment.containerInterface, new Deadline(context.timeoutMs)));
    const routes = await addRoutes(pod, index, attachment, deadline);
    await step("route");
    undo.move();
    const ofport = port.value !== undefined && { ofport: port.value };
    return { hostInterface: name, hostMac: deriveHostMac(name), mtu, routes, ...ofport };
  } catch (error) {
    throw await unwind(undo, error);
  }
}

async function createPodVeth(
  host: RouteSocket,
  attachment: Attachment,
  netns: Netns,
  name: string,
  deadline: Deadline,
): Promise<void> {
  const { containerInterface, mac, mtu, isSilent = false } = attachment;
  const peer = { name: containerInterface, mac, netnsFd: netns.fd };
  try {
    await createVeth(host, { name, mac: deriveHostMac(name), mtu, peer, isDown: isSilent }, deadline);
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    const why = error.code === "EEXIST" ? `${containerInterface} already exists in ${netns.path}` : error.message;
    throw new DatapathError("veth", `cannot create ${containerInterface} in ${netns.path}: ${why}`, error);
  }
}

async function plugIntoOvs(
  context: DatapathContext,
  attachment: Attachment,
  name: string,
  deadline: Deadline,
): Promise<number | undefined> {
  const { bridge, vlan = 0, isSilent } = attachment;
  const externalIds = deriveExternalIds(attachment);
  const port = { bridge, name, vlan, externalIds, identity: attachment };
  const ofport = isSilent
    ? await recordFenced(context.ovsdb, port, deadline).then(() => undefined)
    : await addPort(context.ovsdb, port, deadline);
  await context.onStep?.("ofport");
  return ofport;
}

interface Ends {
  host: RouteSocket;
  netns: Netns;
  /** The host interface's name. */
  name: string;
  netdev: boolean;
}

/** Configures everything before the pod's link is up. Resolves with that link's index and a socket in the pod. */
async function configureLinks(
  context: DatapathContext,
  attachment: Attachment,
  { host, netns, name, netdev }: Ends,
  deadline: Deadline,
): Promise<{ pod: RouteSocket; index: number }> {
  const index = await prepareHostLink(host, attachment, name, deadline);
  await context.onStep?.("host");
  await using held = new AsyncDisposableStack();
  const pod = held.use(await openPod(netns, attachment, netdev));
  await context.onStep?.("offload");
  await context.onStep?.("sysctl");
  await addAddresses(pod, index, attachment, deadline);
  await context.onStep?.("address");
  held.move();
  return { pod, index };
}

/** Sets the alias and keeps the host's IP stack off the link. Resolves with the peer's index in the pod. */
async function prepareHostLink(
  host: RouteSocket,
  attachment: Attachment,
  name: string,
  deadline: Deadline,
): Promise<number> {
  const alias = deriveAlias(attachment.sandboxId, attachment.containerInterface);
  const [link] = await Promise.all([
    fetchLink(host, name, deadline),
    explain("veth", `cannot set the alias of ${name}`, setLinkAlias(host, name, alias, deadline)),
  ]);
  if (link?.peerIndex === undefined) throw new DatapathError("veth", `${name} disappeared while it was being plugged`);
  writeInterfaceSysctl("ipv6", name, "disable_ipv6", 1);
  // The userspace datapath passes frames to the host's stack too, which must not answer the pod's ARP for host
  // addresses.
  writeInterfaceSysctl("ipv4", name, "arp_ignore", 8);
  return link.peerIndex;
}

async function removeFromOvs({ ovsdb, timeoutMs }: DatapathContext, attachment: Attachment): Promise<void> {
  const deadline = new Deadline(timeoutMs);
  if (attachment.isSilent) {
    await removeFenced(ovsdb, attachment, deadline);
    return;
  }
  const ports = await fetchPorts(ovsdb, attachment, deadline);
  if (ports.length > 0) await removePorts(ovsdb, ports, deadline);
}

/** Undoes the steps in reverse, continuing after failures, and returns the error to throw. */
async function unwind(undo: AsyncDisposableStack, error: unknown): Promise<unknown> {
  try {
    await undo.disposeAsync();
    return error;
  } catch (undoError) {
    const step = error instanceof DatapathError ? error.step : "configure";
    const left = undoError instanceof SuppressedError ? undoError.error : undoError;
    const message = `${messageOf(error)}; and the rollback failed: ${messageOf(left)}`;
    return new DatapathError(step, message, new AggregateError([error, undoError]));
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
