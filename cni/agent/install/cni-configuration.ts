/** Name of the installed network. It identifies journals and OVS ports. */
export const NETWORK_NAME = "mooring";

/** Sorts before the files of other plugins, because runtimes use the first file by name. */
export const CONFIGURATION_FILE = "10-mooring.conflist";

export interface CniConfigurationFacts {
  /** Paths of the host, because the executable also runs without the agent. */
  socket: string;
  bridge: string;
  ovsdb: string;
  journalDir: string;
  /** True if the host has the portmap plugin, which implements hostPort. */
  hasPortmap: boolean;
}

/**
 * Formats the network configuration list. Version 1.0.0, because containerd 1.6 supports no later one, and because with
 * 1.1.0 runtimes call STATUS and set the node NotReady on failure: an unreachable IPAM would make all nodes NotReady.
 */
export function formatCniConfiguration(facts: CniConfigurationFacts): string {
  const { socket, bridge, ovsdb, journalDir, hasPortmap } = facts;
  const mooring = { type: "mooring", agentSocket: socket, bridge, ovsdb, journalDir };
  const portmap = { type: "portmap", capabilities: { portMappings: true }, snat: true };
  const plugins = [mooring, ...(hasPortmap ? [portmap] : [])];
  return `${JSON.stringify({ cniVersion: "1.0.0", name: NETWORK_NAME, plugins }, null, 2)}\n`;
}
