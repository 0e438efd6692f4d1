import { createHash } from "node:crypto";
import type { BridgeMapping } from "../../../ipam-server/process/bridge-mappings.ts";

/** A bridge that pods are plugged into. */
export interface IntegrationBridge {
  name: string;
  /** Absent: no mapping is configured, and the bridge serves every physical network. */
  physicalNetwork?: string;
  /** The bridge that connects to the physical network; may be the integration bridge itself. */
  provider?: string;
}

/** Of a network interface, which an OVS bridge is: IFNAMSIZ without its final zero. */
const MAX_NAME_BYTES = 15;
const HASH_DIGITS = 6;

/**
 * Returns one integration bridge for each physical network, the first of which is `base`: bridges that only their own
 * physical network is patched to cannot join two of them. Throws an Error if two networks would share a bridge.
 */
export function deriveIntegrationBridges(base: string, mappings: readonly BridgeMapping[] = []): IntegrationBridge[] {
  if (mappings.length === 0) return [{ name: base }];
  const bridges = mappings.map(({ physicalNetwork, bridge }, index) => ({
    name: index === 0 ? base : deriveName(base, physicalNetwork),
    physicalNetwork,
    provider: bridge,
  }));
  const users = new Map<string, string>();
  for (const { name, physicalNetwork, provider } of bridges) {
    for (const bridge of new Set([name, provider])) {
      const other = users.get(bridge);
      if (other !== undefined) {
        throw new Error(
          `joins the physical networks ${other} and ${physicalNetwork}, which both need bridge ${bridge}`,
        );
      }
      users.set(bridge, physicalNetwork);
    }
  }
  return bridges;
}

/** Returns undefined if this node has no mapping of the physical network. */
export function findIntegrationBridge(bridges: readonly IntegrationBridge[], network: string): string | undefined {
  return bridges.find(({ physicalNetwork = network }) => physicalNetwork === network)?.name;
}

/** `br-int-physnet2`, or with a hash in place of what is too long. */
function deriveName(base: string, physicalNetwork: string): string {
  const name = `${base}-${physicalNetwork}`;
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, HASH_DIGITS);
  return `${name.slice(0, MAX_NAME_BYTES - HASH_DIGITS - 1)}-${hash}`;
}
