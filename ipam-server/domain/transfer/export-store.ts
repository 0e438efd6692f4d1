import type { Cluster } from "../../contract/index.ts";
import type { Catalog, SubnetRecord } from "../model/catalog.ts";
import type { PortRecord } from "../model/port-record.ts";
import type { FreedAddress } from "../model/snapshot.ts";
import {
  type TransferRow,
  type TransferState,
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
  for (const { name, uid, registeredAt } of await source.readClusters())
    yield { kind: "cluster", name, uid, registeredAt };
  yield { kind: "state", ...(await source.readState()) };
}
