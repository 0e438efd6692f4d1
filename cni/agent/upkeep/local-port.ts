import { accessSync } from "node:fs";
import { dirname } from "node:path";
import type { PluggedPort } from "../../datapath/attachment.ts";
import type { HostLink } from "../../datapath/node-datapath.ts";
import { parseExternalIds } from "../../external-ids.ts";

/** Of a sandbox's network namespace. `unknown` is treated as there by whatever takes something away. */
export type SandboxState = "there" | "gone" | "unknown";

/** What OVS remembers of a port of ours. */
export interface OvsSide {
  ofport?: number;
  vlan?: number;
  mac?: string;
  addresses: string[];
  portName?: string;
  portId?: string;
  epoch?: number;
  ownerUid?: string;
  /** Of the CNI configuration, and of the sandbox's namespace. */
  network?: string;
  netns?: string;
}

/** One sandbox's interface as this node has it. */
export interface LocalPort {
  sandboxId: string;
  containerInterface: string;
  /** Our end of the pair; it goes when the pod's end goes. */
  hasLink: boolean;
  sandbox: SandboxState;
  /** Absent: OVS has forgotten it, or never knew. */
  ovs?: OvsSide;
  /** What OVS knew when it was last seen to know it. */
  lastKnown?: OvsSide;
}

export type ReadSandboxState = (netns: string | undefined) => SandboxState;

/** OVS and the kernel each know half; put together by sandbox and interface. */
export function mergeLocalPorts(
  plugged: readonly PluggedPort[],
  links: readonly HostLink[],
  look: ReadSandboxState,
): LocalPort[] {
  const linked = new Set(links.map(keyOf));
  const known = plugged.map(port => ({ ...describe(port, look), hasLink: linked.has(keyOf(port)) }));
  const knownKeys = new Set(known.map(keyOf));
  const forgotten = links
    .filter(link => !knownKeys.has(keyOf(link)))
    .map(({ sandboxId, containerInterface }) => {
      return { sandboxId, containerInterface, hasLink: true, sandbox: "unknown" as const };
    });
  return [...known, ...forgotten];
}

/**
 * A runtime mounts a sandbox's namespace under a path and takes the path away with it. Only a folder that can be looked
 * into tells that something is not in it.
 */
export const readSandboxState: ReadSandboxState = netns => {
  if (netns === undefined) return "unknown";
  if (exists(netns)) return "there";
  return exists(dirname(netns)) ? "gone" : "unknown";
};

export const keyOf = ({ sandboxId, containerInterface }: { sandboxId: string; containerInterface: string }): string =>
  `${sandboxId}/${containerInterface}`;

/** One plugging of it: another epoch is another life. */
export const bindingKey = (local: LocalPort): string => `${keyOf(local)} ${local.ovs?.portId} ${local.ovs?.epoch}`;

function describe({ sandboxId, containerInterface, ofport, vlan, externalIds }: PluggedPort, look: ReadSandboxState) {
  const { sandboxId: _id, containerInterface: _interface, ...known } = parseExternalIds(externalIds);
  const ovs: OvsSide = { ...known, ...(ofport !== undefined && { ofport }), ...(vlan !== undefined && { vlan }) };
  return { sandboxId, containerInterface, sandbox: look(ovs.netns), ovs };
}

function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch (error) {
    // What cannot be looked at is not known to be gone.
    return !(error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"));
  }
}
