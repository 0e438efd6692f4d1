import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Reader } from "../database/reader.ts";
import type { Send } from "../database/statement.ts";
import { loadCatalog, readState, type VersionedCatalog } from "../rows/catalog-rows.ts";

/** The networks as this replica saw them last; another may have changed them, which their revision tells. */
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

  /** By a transaction in which nobody changes the networks: what it sees is what there is. */
  async reload(send: Send): Promise<void> {
    this.#known = await loadCatalog(send);
  }

  async refresh(): Promise<Catalog> {
    return this.#learn(await this.#reader.read(loadCatalog));
  }

  /** Reads one state of the database, by the networks of that state. */
  read<T>(work: (send: Send, catalog: Catalog) => Promise<T>): Promise<T> {
    return this.#reader.read(async send => {
      const isKnown = (await readState(send)).revision === this.#known.revision;
      return work(send, isKnown ? this.#known.catalog : this.#learn(await loadCatalog(send)));
    });
  }

  #learn(catalog: VersionedCatalog): Catalog {
    if (catalog.revision >= this.#known.revision) this.#known = catalog;
    return catalog.catalog;
  }
}
