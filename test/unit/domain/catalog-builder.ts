import type { NetworkManifest } from "../../../ipam-server/contract/index.ts";
import { Catalog } from "../../../ipam-server/domain/model/catalog.ts";
import { validateNetwork } from "../../../ipam-server/domain/networks/validate-network.ts";

/** A catalog of these networks as a store would have it right after they were declared; ids count from 1. */
export function buildCatalog(manifests: readonly NetworkManifest[]): Catalog {
  let subnetId = 0;
  let poolId = 0;
  const createdAt = "2026-11-20T08:00:00.000Z";
  return new Catalog(
    manifests.map((manifest, index) => {
      const declaration = validateNetwork(manifest, []);
      const networkId = index + 1;
      const subnets = declaration.subnets.map(subnet => ({
        ...subnet,
        id: ++subnetId,
        networkId,
        ranges: subnet.ranges.map(range => ({ ...range, id: ++poolId, cursor: range.first })),
        held: 0,
        outside: 0,
        freed: 0,
      }));
      return { ...declaration, id: networkId, subnets, createdAt, updatedAt: createdAt };
    }),
  );
}
