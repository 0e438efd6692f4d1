import type { Attachment, ExpectedAttachment } from "./attachment.ts";
import type { DatapathContext } from "./datapath-context.ts";
import type { Deadline } from "./deadline.ts";
import { findHostLink } from "./host-link.ts";
import { deriveHostInterfaces } from "./interface-name.ts";
import type { Netns } from "./kernel/netns.ts";
import { fetchAddresses, type LinkAddress } from "./netlink/address.ts";
import { fetchLink, type Link } from "./netlink/link.ts";
import { fetchRoutes, type LinkRoute } from "./netlink/route.ts";
import { fetchRules, type SourceRule } from "./netlink/rule.ts";
import { RouteSocket } from "./netlink/socket.ts";
import * as ovs from "./ovsdb/ports.ts";
import { readInteger } from "./ovsdb/value.ts";

/** An attachment's rows in OVSDB, and its bridge. */
export interface OvsState {
  /** Absent: the bridge does not exist. */
  bridge: ovs.OvsBridge | undefined;
  ports: ovs.OvsPort[];
  interfaces: ovs.OvsInterface[];
  /** Candidate host names that rows of other identities use. */
  takenNames: Set<string>;
  /** `next_cfg`, if ovs-vswitchd has not applied it yet. */
  pendingCfg: number | undefined;
}

export interface PodState {
  link: Link;
  addresses: LinkAddress[];
  /** Routes of the netns, of all interfaces and tables. */
  routes: LinkRoute[];
  rules: SourceRule[];
}

/** The state of one attachment in OVS, on the host and in the pod. */
export interface ObservedState {
  ovs: OvsState;
  /** The bridge that contains the port. */
  actualBridge: string | undefined;
  hostLink: Link | undefined;
  /** A free name for a new host link. */
  freeName: string | undefined;
  pod: PodState | undefined;
}

/** Takes one round trip if nothing exists yet, the common case of a plug. */
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
  attachment: Pick<ExpectedAttachment, "sandboxId" | "containerInterface">,
  netns: Netns,
  state: OvsState,
  deadline: Deadline,
): Promise<ObservedState> {
  const host = await context.hostSocket();
  const { link, freeName } = await findHostLink(host, attachment, state.takenNames, deadline);
  const [port] = state.ports;
  return {
    ovs: state,
    actualBridge: port && (await ovs.fetchBridgeOf(context.ovsdb, port, deadline)),
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
  const routes = await fetchRoutes(socket, deadline);
  return { link, addresses, routes, rules: await fetchRules(socket, deadline) };
}
