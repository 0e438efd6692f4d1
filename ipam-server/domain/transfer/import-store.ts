import { type Cluster, type ImportResponse, IpamError, type TransferEnd } from "../../contract/index.ts";
import type { Catalog } from "../model/catalog.ts";
import type { HeldIp, PortRecord } from "../model/port-record.ts";
import type { FreedState } from "../model/snapshot.ts";
import type { CoolingAddress } from "../networks/cooling.ts";
import type { Finding } from "../store.ts";
import { exportStore, type TransferSource } from "./export-store.ts";
import type {
  TransferCooling,
  TransferFreed,
  TransferNetwork,
  TransferPort,
  TransferRow,
  TransferState,
} from "./transfer.ts";
import { TransferDigest } from "./transfer-digest.ts";
import { fromTransferNetwork, type ImportedNetwork, TransferOrder, TransferPlaces } from "./transfer-records.ts";

export type ImportedFreed = HeldIp & FreedState & { pooled: boolean };

/** The first row of a chunk that conflicts with an earlier row: its index, and the value that both have. */
export interface Duplicate {
  index: number;
  what: string;
}

/** A store's open, exclusive transaction. Read as a source, it returns the rows added so far. */
export interface TransferSink extends TransferSource {
  /** Counts the rows present, each up to `COUNT_LIMIT`, because a complete count may take long. */
  count(): Promise<{ networks: number; ports: number; events: number }>;
  addNetwork(network: ImportedNetwork): Promise<void>;
  addPorts(ports: readonly PortRecord[], catalog: Catalog): Promise<Duplicate | undefined>;
  addFreed(freed: readonly ImportedFreed[], catalog: Catalog): Promise<Duplicate | undefined>;
  addCooling(cooling: readonly CoolingAddress[]): Promise<Duplicate | undefined>;
  addCluster(cluster: Cluster): Promise<void>;
  setState(state: TransferState): Promise<void>;
  check(catalog: Catalog): Promise<Finding[]>;
}

export const COUNT_LIMIT = 10_000;

/** Rows added together. */
const CHUNK = 500;

/** Fills an empty store: see `Store.importRows`. The caller commits, or rolls back when this rejects. */
export async function importStore(
  rows: AsyncIterable<TransferRow | TransferEnd>,
  sink: TransferSink,
): Promise<ImportResponse> {
  await assertEmptyStore(sink);
  const importer = new RowImporter(sink);
  let end: TransferEnd | undefined;
  for await (const row of rows) {
    if (row.kind === "end") end = row;
    else await importer.add(row);
  }
  const counts = await importer.finish();
  const [finding, ...more] = await sink.check(await sink.readCatalog());
  if (finding) {
    const others = more.length > 0 ? ` (and ${more.length} more)` : "";
    throw new IpamError("invalid_request", `the import is inconsistent: ${finding.where}: ${finding.what}${others}`);
  }
  const found = new TransferDigest();
  for await (const row of exportStore(sink)) found.add(row);
  const { digest } = found.end();
  if (digest !== end?.digest) {
    throw new IpamError("internal", `the store reads back ${digest}, not the ${end?.digest} that came in`);
  }
  return { ...counts, digest };
}

async function assertEmptyStore(sink: TransferSink): Promise<void> {
  const { networks, ports, events } = await sink.count();
  if (networks + ports + events === 0) return;
  const show = (count: number) => (count < COUNT_LIMIT ? `${count}` : `${COUNT_LIMIT} or more`);
  throw new IpamError(
    "conflict",
    `the store is not empty (networks: ${show(networks)}, ports: ${show(ports)}, events: ${show(events)}); start mooring-ipam with an empty --database and import into that`,
  );
}

class RowImporter {
  readonly #sink: TransferSink;
  readonly #order = new TransferOrder();
  readonly #networks: ImportedNetwork[] = [];
  readonly #ports: Chunk<PortRecord>;
  readonly #freed: Chunk<ImportedFreed>;
  readonly #cooling: Chunk<CoolingAddress>;
  #places: { catalog: Catalog; places: TransferPlaces } | undefined;
  #row = 0;

  constructor(sink: TransferSink) {
    this.#sink = sink;
    this.#ports = new Chunk(async ports => sink.addPorts(ports, (await this.#loadPlaces()).catalog));
    this.#freed = new Chunk(async freed => sink.addFreed(freed, (await this.#loadPlaces()).catalog));
    this.#cooling = new Chunk(cooling => sink.addCooling(cooling));
  }

  async add(row: TransferRow): Promise<void> {
    this.#row++;
    this.#order.check(row);
    if (row.kind === "network") await this.#addNetwork(row);
    else if (row.kind === "port") await this.#addPort(row);
    else if (row.kind === "freed") await this.#addFreed(row);
    else if (row.kind === "cooling") await this.#addCooling(row);
    else if (row.kind === "cluster") {
      const { name, uid, registeredAt } = row;
      await this.#sink.addCluster({ name, uid, registeredAt });
    } else await this.#sink.setState(row);
  }

  async finish(): Promise<Omit<ImportResponse, "digest">> {
    this.#order.end();
    await this.#ports.flush();
    await this.#freed.flush();
    await this.#cooling.flush();
    return { networks: this.#networks.length, ports: this.#ports.count, freed: this.#freed.count };
  }

  async #addNetwork(row: TransferNetwork): Promise<void> {
    const before = this.#networks.map(({ declaration }) => declaration);
    const network = fromTransferNetwork(row, before);
    this.#networks.push(network);
    await this.#sink.addNetwork(network);
  }

  /** Networks come first, so all are present at the first port or freed address. */
  async #loadPlaces(): Promise<{ catalog: Catalog; places: TransferPlaces }> {
    if (!this.#places) {
      const catalog = await this.#sink.readCatalog();
      this.#places = { catalog, places: new TransferPlaces(catalog) };
    }
    return this.#places;
  }

  async #addPort(row: TransferPort): Promise<void> {
    const { places } = await this.#loadPlaces();
    await this.#ports.add(places.toPort(row), this.#row, `port ${row.name}`);
  }

  async #addFreed(row: TransferFreed): Promise<void> {
    const { places } = await this.#loadPlaces();
    await this.#freed.add(places.toFreed(row), this.#row, `freed address ${row.address}`);
  }

  async #addCooling(row: TransferCooling): Promise<void> {
    const { places } = await this.#loadPlaces();
    await this.#cooling.add(places.toCooling(row), this.#row, `cooling address ${row.address}`);
  }
}

/** Collects rows and adds them together; the tables' own constraints find duplicates. */
class Chunk<T> {
  readonly #put: (items: readonly T[]) => Promise<Duplicate | undefined>;
  #items: T[] = [];
  #sources: { row: number; name: string }[] = [];
  count = 0;

  constructor(put: (items: readonly T[]) => Promise<Duplicate | undefined>) {
    this.#put = put;
  }

  async add(item: T, row: number, name: string): Promise<void> {
    this.#items.push(item);
    this.#sources.push({ row, name });
    this.count++;
    if (this.#items.length >= CHUNK) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#items.length === 0) return;
    const clash = await this.#put(this.#items);
    if (clash) {
      const { row, name } = this.#sources[clash.index] ?? { row: 0, name: "a row" };
      throw new IpamError("invalid_request", `${name} duplicates an earlier row (${clash.what})`, { row });
    }
    this.#items = [];
    this.#sources = [];
  }
}
