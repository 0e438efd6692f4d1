export interface BridgeMapping {
  physicalNetwork: string;
  /** The OVS bridge that connects to it. */
  bridge: string;
}

export const BRIDGE_MAPPINGS_ACCEPTS =
  "pairs of physical network and bridge such as physnet1:br-bond,physnet2:br-data, each network and each bridge once";

/** As the IPAM accepts it in a network's segment. */
const PHYSICAL_NETWORK = /^[A-Za-z0-9_.-]{1,64}$/;

/**
 * Parses `physnet1:br-bond,physnet2:br-data`, as Neutron's `bridge_mappings`; undefined for any other text. One bridge for
 * two networks is refused because it would join them.
 */
export function parseBridgeMappings(text: string): BridgeMapping[] | undefined {
  const mappings: BridgeMapping[] = [];
  for (const pair of text.split(",")) {
    const [physicalNetwork = "", bridge = "", ...rest] = pair.trim().split(":");
    if (!PHYSICAL_NETWORK.test(physicalNetwork) || bridge === "" || rest.length > 0) return undefined;
    if (mappings.some(other => other.physicalNetwork === physicalNetwork || other.bridge === bridge)) return undefined;
    mappings.push({ physicalNetwork, bridge });
  }
  return mappings;
}
