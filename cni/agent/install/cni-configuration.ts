/** Of the network that the agent installs: journals, and ports in OVS, are known by it. */
export const NETWORK_NAME = "mooring";

/** Before what other plugins install: runtimes take the first file by name. */
export const CONFIGURATION_FILE = "10-mooring.conflist";

export interface CniConfigurationFacts {
  /** All as the host sees them: the executable works by itself while the agent is away. */
  socket: string;
  bridge: string;
  ovsdb: string;
  journalDir: string;
  /** Whether the host has the portmap plugin, which serves hostPort. */
  hasPortmap: boolean;
}

/**
 * The network configuration list for runtimes. containerd 1.6 knows CNI up to 1.0.0; newer ones take it as well, and from
 * 1.1.0 on they ask for STATUS and tell the kubelet its failure as the node's: an IPAM that is away would make every node
 * NotReady, and every Service lose its endpoints.
 */
export function formatCniConfiguration(facts: CniConfigurationFacts): string {
  const { socket, bridge, ovsdb, journalDir, hasPortmap } = facts;
  const mooring = { type: "mooring", agentSocket: socket, bridge, ovsdb, journalDir };
  const portmap = { type: "portmap", capabilities: { portMappings: true }, snat: true };
  const plugins = [mooring, ...(hasPortmap ? [portmap] : [])];
  return `${JSON.stringify({ cniVersion: "1.0.0", name: NETWORK_NAME, plugins }, null, 2)}\n`;
}
