import { parseExternalIds, type SandboxIds } from "../external-ids.ts";
import type { DatapathContext } from "./datapath-context.ts";
import { DatapathError } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { deriveExternalIds } from "./differences.ts";
import { findHostLink } from "./host-link.ts";
import { parseAlias } from "./interface-name.ts";
import { fetchLinks, setLinkUp } from "./netlink/link.ts";
import { RouteSocket } from "./netlink/socket.ts";
import type { HostLink, Replug, Replugged } from "./node-datapath.ts";
import { fetchOvsState } from "./observed-state.ts";
import {
  addPort,
  fetchBridgeOf,
  fetchPortsOf,
  isAccessPort,
  missingBridge,
  readInterface,
  removePorts,
  select,
  selectInterfaces,
  setAccess,
  setExternalIds,
  waitForConfigured,
} from "./ovsdb/ports.ts";

/** See NodeDatapath. The host link proves that the pod exists, because its peer is the pod's interface. */
export async function replug(context: DatapathContext, attachment: Replug): Promise<Replugged | undefined> {
  const deadline = new Deadline(context.timeoutMs);
  const { ovsdb } = context;
  const { bridge, vlan = 0 } = attachment;
  const state = await fetchOvsState(context, attachment, deadline);
  if (state.bridge === undefined) throw missingBridge(bridge);
  const host = await context.hostSocket();
  const { link } = await findHostLink(host, attachment, new Set(), deadline);
  if (link === undefined || link.isPendingDeletion) return undefined;
  if (state.takenNames.has(link.name)) {
    throw new DatapathError(
      "ovs",
      `the OVS port ${link.name} has no external_ids of Mooring; remove it (ovs-vsctl del-port)`,
    );
  }
  const [row] = state.interfaces;
  const [port] = state.ports;
  const ids = deriveExternalIds(attachment);
  const plugged = { hostInterface: link.name };
  const actualBridge = port && (await fetchBridgeOf(ovsdb, port, deadline));
  const isUsable = row?.name === link.name && (row.ofport ?? -1) > 0 && actualBridge === bridge;
  if (isUsable && row.ofport !== undefined && port !== undefined) {
    // A fence that OVS did not answer has only taken the link down.
    if (!link.up) await setLinkUp(host, link.index, deadline);
    if (!isAccessPort(port, vlan)) await setAccess(ovsdb, port, vlan, deadline);
    const known = { ...row.externalIds, ...ids };
    const isRight = Object.entries(known).every(([key, value]) => row.externalIds[key] === value);
    if (!isRight) await setExternalIds(ovsdb, row.uuid, attachment, known, deadline);
    return { ...plugged, ofport: row.ofport };
  }
  // It has a dead device, is on the wrong bridge, or was fenced: OVS must release the device before the name is used again.
  if (state.ports.length > 0) {
    state.pendingCfg = await removePorts(ovsdb, state.ports, deadline);
  }
  if (state.pendingCfg !== undefined) await waitForConfigured(ovsdb, state.pendingCfg, deadline);
  // OVS may have taken down what it released.
  if (!link.up || state.pendingCfg !== undefined) await setLinkUp(host, link.index, deadline);
  const externalIds = { ...row?.externalIds, ...ids };
  const ofport = await addPort(ovsdb, { bridge, name: link.name, vlan, externalIds, identity: attachment }, deadline);
  return { ...plugged, ofport };
}

/** See NodeDatapath. */
export async function restoreVlan({ ovsdb, timeoutMs }: DatapathContext, sandbox: SandboxIds): Promise<boolean> {
  const deadline = new Deadline(timeoutMs);
  const [rows = []] = await select(ovsdb, [selectInterfaces(sandbox)], deadline);
  const vlans = new Map(
    rows.map(readInterface).map(({ uuid, externalIds }) => [uuid, parseExternalIds(externalIds).vlan]),
  );
  let isRestored = false;
  for (const port of await fetchPortsOf(ovsdb, [...vlans.keys()], deadline)) {
    const [vlan] = port.interfaceUuids.map(uuid => vlans.get(uuid));
    if (vlan === undefined || isAccessPort(port, vlan)) continue;
    await setAccess(ovsdb, port, vlan, deadline);
    isRestored = true;
  }
  return isRestored;
}

export async function listLinks({ timeoutMs }: DatapathContext): Promise<HostLink[]> {
  // A separate socket, because the kernel answers one dump at a time.
  await using socket = await RouteSocket.open();
  const links = await fetchLinks(socket, new Deadline(timeoutMs));
  return links.flatMap(({ name, alias, up, isPendingDeletion }) => {
    const identity = alias === undefined || isPendingDeletion ? undefined : parseAlias(alias);
    return identity === undefined ? [] : [{ name, up, ...identity }];
  });
}
