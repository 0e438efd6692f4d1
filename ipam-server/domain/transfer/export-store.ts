import type { Cluster } from "../../contract/index.ts";
import type { Catalog, SubnetRecord } from "../model/catalog.ts";
import type { PortRecord } from "../model/port-record.ts";
import type { FreedAddress } from "../model/snapshot.ts";
import type { CoolingAddress, FormerSubnet } from "../networks/cooling.ts";
import {
  type TransferRow,
  type TransferState,
  toTransferCooling,
  toTransferFreed,
  toTransferNetwork,
  toTransferPort,
} from "./transfer.ts";

export type FreedPage = readonly (FreedAddress & { pooled: boolean })[];

/** One consistent state of a store, read page by page; an empty page is the last. */
export interface TransferSource {
  readCatalog(): Promise<Catalog>;
  /** Ports by key, with keys greater than `afterKey`. */
  readPorts(afterKey: number, catalog: Catalog): Promise<readonly PortRecord[]>;
  /** Freed addresses by offset, beginning at `fromOffset`. */
  readFreed(subnet: SubnetRecord, fromOffset: bigint): Promise<FreedPage>;
  readFormerSubnets(): Promise<readonly FormerSubnet[]>;
  /** As `readFreed`. */
  readCooling(subnet: FormerSubnet, fromOffset: bigint): Promise<readonly CoolingAddress[]>;
  /** By name. */
  readClusters(): Promise<readonly Cluster[]>;
  readState(): Promise<Omit<TransferState, "kind">>;
}

/** Yields the complete content in the stream's order. */
export async function* exportStore(source: TransferSource): AsyncGenerator<TransferRow> {
  const catalog = await source.readCatalog();
  for (const network of catalog.networks) yield toTransferNetwork(network);
  for (let after = 0; ; ) {
    const ports = await source.readPorts(after, catalog);
    for (const port of ports) yield toTransferPort(port, catalog);
    const last = ports.at(-1);
    if (!last) break;
    after = last.key;
  }
  for (const network of catalog.networks) {
    for (const subnet of network.subnets) {
      for (let from = 0n; from < subnet.cidr.count; ) {
        const page = await source.readFreed(subnet, from);
        for (const freed of page) yield toTransferFreed(network, subnet, freed);
        const last = page.at(-1);
        if (!last) break;
        from = last.offset + 1n;
      }
    }
  }
  for (const subnet of sortFormer(await source.readFormerSubnets())) {
    for (let from = 0n; from < subnet.cidr.count; ) {
      const page = await source.readCooling(subnet, from);
      for (const cooling of page) yield toTransferCooling(cooling);
      const last = page.at(-1);
      if (!last) break;
      from = last.offset + 1n;
    }
  }
  for (const { name, uid, registeredAt } of await source.readClusters())
    yield { kind: "cluster", name, uid, registeredAt };
  yield { kind: "state", ...(await source.readState()) };
}

/** In one order on every engine: PostgreSQL's own depends on its collation. */
function sortFormer(subnets: readonly FormerSubnet[]): FormerSubnet[] {
  const keyOf = ({ segment, cidr }: FormerSubnet) => `${segment} ${cidr.text}`;
  return [...subnets].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}
