import { accessSync } from "node:fs";
import { dirname } from "node:path";
import type { PluggedPort } from "../../datapath/attachment.ts";
import { findIntegrationBridge, type IntegrationBridge } from "../../datapath/bridges/integration-bridges.ts";
import type { HostLink } from "../../datapath/node-datapath.ts";
import { parseExternalIds } from "../../external-ids.ts";

/** State of a sandbox's netns. Removals treat `unknown` as `there`. */
type SandboxState = "there" | "gone" | "unknown";

interface WrongBridge {
  found: string;
  expected: string;
  /** True if the agent plans or made the bridge: a port on it is the agent's. */
  isOurs: boolean;
}

/** The OVS row of one of our ports. */
export interface OvsSide {
  ofport?: number;
  vlan?: number;
  /** Absent: plugged before the VLAN was recorded with the port. */
  recordedVlan?: number;
  /** What is wrong with tag, vlan_mode or trunks: the pod may receive another VLAN. */
  wrongVlan?: string;
  /** Present if it is on another bridge than its physical network's. */
  wrongBridge?: WrongBridge;
  /** Absent: plugged before it was recorded. */
  physicalNetwork?: string;
  mac?: string;
  addresses: string[];
  portName?: string;
  portId?: string;
  epoch?: number;
  ownerUid?: string;
  /** Name of the CNI network, and path of the sandbox's netns. */
  network?: string;
  netns?: string;
}

/** A sandbox's interface on this node. */
export interface LocalPort {
  sandboxId: string;
  containerInterface: string;
  /** True if the host end of the veth pair exists; it is deleted with the pod's end. */
  hasLink: boolean;
  /** True: the fence has disconnected it; without a record of that, its link is down. */
  isFenced: boolean;
  /** True: OVS has the port, but something has taken its host link down, such as a fence that OVS did not answer. */
  isLinkDown?: boolean;
  sandbox: SandboxState;
  /** Absent if OVS has no row of it and does not remember it as fenced. */
  ovs?: OvsSide;
  /** The last row that was read, if OVS has none now. */
  lastKnown?: OvsSide;
}

type ReadSandboxState = (netns: string | undefined) => SandboxState;

interface NodeFacts {
  bridges: readonly IntegrationBridge[];
  look: ReadSandboxState;
}

/** Joins OVS rows and kernel links by sandbox and interface. */
export function mergeLocalPorts(
  plugged: readonly PluggedPort[],
  links: readonly HostLink[],
  facts: NodeFacts,
): LocalPort[] {
  const linkOf = new Map(links.map(link => [keyOf(link), link]));
  const known = plugged.map(port => {
    const link = linkOf.get(keyOf(port));
    const isLinkDown = link?.up === false && !port.isFenced;
    return { ...parsePlugged(port, facts), hasLink: link !== undefined, ...(isLinkDown && { isLinkDown }) };
  });
  const knownKeys = new Set(known.map(keyOf));
  const linksOnly = links
    .filter(link => !knownKeys.has(keyOf(link)))
    .map(({ sandboxId, containerInterface, up }) => {
      return { sandboxId, containerInterface, hasLink: true, isFenced: !up, sandbox: "unknown" as const };
    });
  return [...known, ...linksOnly];
}

/**
 * Returns `gone` only if the folder of the netns exists and the netns does not: the runtime removes the path with the
 * sandbox, and a missing folder proves nothing.
 */
export const readSandboxState: ReadSandboxState = netns => {
  if (netns === undefined) return "unknown";
  if (exists(netns)) return "there";
  return exists(dirname(netns)) ? "gone" : "unknown";
};

export const keyOf = ({ sandboxId, containerInterface }: { sandboxId: string; containerInterface: string }): string =>
  `${sandboxId}/${containerInterface}`;

/** Identifies a local port with its binding: sandbox, interface, port id and epoch. */
export const bindingKey = (local: LocalPort): string => `${keyOf(local)} ${local.ovs?.portId} ${local.ovs?.epoch}`;

function parsePlugged(
  { sandboxId, containerInterface, isFenced, bridge, isBridgeMade, ofport, vlan, wrongVlan, externalIds }: PluggedPort,
  { look, bridges }: NodeFacts,
) {
  const {
    sandboxId: _id,
    containerInterface: _interface,
    vlan: recordedVlan,
    ...known
  } = parseExternalIds(externalIds);
  const expected = known.physicalNetwork && findIntegrationBridge(bridges, known.physicalNetwork);
  const isOurs = isBridgeMade || bridges.some(({ name, provider }) => name === bridge || provider === bridge);
  const ovs: OvsSide = {
    ...known,
    ...(ofport !== undefined && { ofport }),
    ...(vlan !== undefined && { vlan }),
    ...(recordedVlan !== undefined && { recordedVlan }),
    ...(wrongVlan !== undefined && { wrongVlan }),
    ...(expected && expected !== bridge && { wrongBridge: { found: bridge, expected, isOurs } }),
  };
  return { sandboxId, containerInterface, isFenced, sandbox: look(ovs.netns), ovs };
}

function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch (error) {
    // Any other error does not prove that it is gone.
    return !(error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"));
  }
}
