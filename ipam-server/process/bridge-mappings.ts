interface BridgeMapping {
  physicalNetwork: string;
  /** The OVS bridge that connects to it. */
  bridge: string;
}

export const BRIDGE_MAPPINGS_ACCEPTS =
  "pairs of physical network and bridge such as physnet1:br-bond,physnet2:br-data, each network once";

/** Parses `physnet1:br-bond,physnet2:br-data`, as Neutron's `bridge_mappings`; undefined for any other text. */
export function parseBridgeMappings(text: string): BridgeMapping[] | undefined {
  const mappings: BridgeMapping[] = [];
  for (const pair of text.split(",")) {
    const [physicalNetwork = "", bridge = "", ...rest] = pair.trim().split(":");
    if (physicalNetwork === "" || bridge === "" || rest.length > 0) return undefined;
    if (mappings.some(mapping => mapping.physicalNetwork === physicalNetwork)) return undefined;
    mappings.push({ physicalNetwork, bridge });
  }
  return mappings;
}
