import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Reader } from "../database/reader.ts";
import type { Send } from "../database/statement.ts";
import { loadCatalog, readState, type VersionedCatalog } from "../rows/catalog-rows.ts";

/** The networks as this replica last read them. The revision shows whether another replica changed them since. */
export class CatalogCache {
  readonly #reader: Reader;
  #known: VersionedCatalog;

  constructor(reader: Reader, current: VersionedCatalog) {
    this.#reader = reader;
    this.#known = current;
  }

  get known(): VersionedCatalog {
    return this.#known;
  }

  /** Requires a transaction with the catalog lock, in which no replica changes the networks. */
  async reload(send: Send): Promise<void> {
    this.#known = await loadCatalog(send);
  }

  async refresh(): Promise<Catalog> {
    return this.#keepNewest(await this.#reader.read(loadCatalog));
  }

  /** Runs the work on one state of the database, with the networks of that state. */
  read<T>(work: (send: Send, catalog: Catalog) => Promise<T>): Promise<T> {
    return this.#reader.read(async send => {
      const isCurrent = (await readState(send)).revision === this.#known.revision;
      return work(send, isCurrent ? this.#known.catalog : this.#keepNewest(await loadCatalog(send)));
    });
  }

  #keepNewest(catalog: VersionedCatalog): Catalog {
    if (catalog.revision >= this.#known.revision) this.#known = catalog;
    return catalog.catalog;
  }
}
