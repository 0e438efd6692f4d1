import type { Attachment } from "./attachment.ts";
import type { DatapathContext } from "./datapath-context.ts";
import type { Deadline } from "./deadline.ts";
import { findHostLink } from "./host-link.ts";
import { deriveHostInterfaces } from "./interface-name.ts";
import type { Netns } from "./kernel/netns.ts";
import { fetchAddresses, type LinkAddress } from "./netlink/address.ts";
import { fetchLink, type Link } from "./netlink/link.ts";
import { fetchRoutes, type LinkRoute } from "./netlink/route.ts";
import { RouteSocket } from "./netlink/socket.ts";
import * as ovs from "./ovsdb/ports.ts";
import { readInteger } from "./ovsdb/value.ts";

/** What OVSDB says about an attachment and its bridge. */
export interface OvsState {
  /** Absent: there is no such bridge. */
  bridge: ovs.OvsBridge | undefined;
  ports: ovs.OvsPort[];
  interfaces: ovs.OvsInterface[];
  /** Host names that rows of another identity have. */
  takenNames: Set<string>;
  /** The number of the last change asked for, if ovs-vswitchd is behind it. */
  pendingCfg: number | undefined;
}

export interface PodState {
  link: Link;
  addresses: LinkAddress[];
  /** Of the whole namespace. */
  routes: LinkRoute[];
}

/** Everything that is there of one attachment; what to make of it is decided elsewhere. */
export interface ObservedState {
  ovs: OvsState;
  /** The bridge that really has the port. */
  actualBridge: string | undefined;
  hostLink: Link | undefined;
  /** A name for the host link, should it have to be made. */
  freeName: string | undefined;
  pod: PodState | undefined;
}

/** One round trip if there is nothing yet, which is what a plug hopes for. */
export async function fetchOvsState(
  { ovsdb }: DatapathContext,
  attachment: Pick<Attachment, "bridge" | "sandboxId" | "containerInterface">,
  deadline: Deadline,
): Promise<OvsState> {
  const names = deriveHostInterfaces(attachment.sandboxId, attachment.containerInterface);
  const operations = [
    ovs.selectBridge(attachment.bridge),
    ovs.selectInterfaces(attachment),
    ovs.selectConfigured,
    ...names.map(ovs.selectInterfaceNamed),
  ];
  const [bridges, interfaces, configured, ...named] = await ovs.select(ovsdb, operations, deadline);
  const own = (interfaces ?? []).map(ovs.readInterface);
  const others = named.flat().map(ovs.readInterface);
  const [cfg] = configured ?? [];
  const [next, current] = cfg ? [readInteger(cfg, "next_cfg") ?? 0, readInteger(cfg, "cur_cfg") ?? 0] : [0, 0];
  return {
    bridge: (bridges ?? []).map(ovs.readBridge)[0],
    ports: await ovs.fetchPortsOf(
      ovsdb,
      own.map(row => row.uuid),
      deadline,
    ),
    interfaces: own,
    takenNames: new Set(others.filter(row => !own.some(mine => mine.uuid === row.uuid)).map(row => row.name)),
    pendingCfg: next > current ? next : undefined,
  };
}

export async function fetchObservedState(
  context: DatapathContext,
  attachment: Attachment,
  netns: Netns,
  state: OvsState,
  deadline: Deadline,
): Promise<ObservedState> {
  const host = await context.hostSocket();
  const { link, freeName } = await findHostLink(host, attachment, state.takenNames, deadline);
  const [port] = state.ports;
  const bridges = port ? await ovs.select(context.ovsdb, [ovs.selectBridgesOf(port.uuid)], deadline) : [];
  return {
    ovs: state,
    actualBridge: bridges.flat().map(ovs.readBridge)[0]?.name,
    hostLink: link,
    freeName,
    pod: link && (await fetchPodState(netns, attachment.containerInterface, deadline)),
  };
}

async function fetchPodState(netns: Netns, name: string, deadline: Deadline): Promise<PodState | undefined> {
  await using socket = await RouteSocket.open(netns);
  const link = await fetchLink(socket, name, deadline);
  if (link === undefined) return undefined;
  const addresses = await fetchAddresses(socket, link.index, deadline);
  return { link, addresses, routes: await fetchRoutes(socket, deadline) };
}
