import type Database from "better-sqlite3";
import type { EventList, EventQuery, Port, PortList, PortQuery } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import { toPort } from "../../../domain/model/port-record.ts";
import { isFiltered } from "../../event-rows.ts";
import { identityOf, portNotFound } from "../../port-query.ts";
import { toIpamError } from "../database/errors.ts";
import { readEventPage } from "../statements/event-reader.ts";
import { PortReader } from "../statements/port-reader.ts";
import type { SnapshotLoader } from "../statements/snapshot-loader.ts";
import type { LongReads } from "./long-reads.ts";
import type { ReadInput, ReadKind, ReadResult } from "./run-read.ts";

interface StoreReadsOptions {
  database: Database.Database;
  loader: SnapshotLoader;
  longReads: LongReads;
  readCatalog(): Catalog;
  /** Runs a read on the store's own thread, while the store is open and nothing is imported. */
  guard<T>(read: () => T): T;
}

/** Reads ports and events: on the store's own thread what an index finds, on another thread what is scanned. */
export class StoreReads {
  readonly #options: StoreReadsOptions;
  readonly #ports: PortReader;

  constructor(options: StoreReadsOptions) {
    this.#options = options;
    this.#ports = new PortReader(options.database, options.loader);
  }

  async readPorts(query: PortQuery): Promise<PortList> {
    const { guard, readCatalog } = this.#options;
    const scan = guard(() => this.#ports.planScan(query, readCatalog()));
    if (!scan) return guard(() => this.#ports.read(query, readCatalog()));
    const found = await this.#readPage("ports", scan);
    return guard(() => this.#ports.readScanned(scan, found, readCatalog()));
  }

  async readPort(name: string): Promise<Port> {
    const { guard, readCatalog, loader } = this.#options;
    return guard(() => {
      const [port] = loader.loadPorts({ portNames: [name], bindings: [], slots: [] }, readCatalog());
      if (!port) throw portNotFound(name);
      return toPort(port, readCatalog());
    });
  }

  async readEvents(query: EventQuery): Promise<EventList> {
    const { guard, readCatalog, database } = this.#options;
    const livePorts = guard(() => this.#ports.findKeys(identityOf(query), readCatalog()));
    if (isFiltered(query)) return this.#readPage("events", { query, livePorts });
    return guard(() => readEventPage(database, { query, livePorts }));
  }

  async #readPage<K extends ReadKind>(kind: K, input: ReadInput<K>): Promise<ReadResult<K>> {
    const { longReads, database } = this.#options;
    try {
      return await longReads.readPage(kind, input);
    } catch (error) {
      throw toIpamError(error, database.name);
    }
  }
}
