import type { Catalog } from "../../domain/model/catalog.ts";
import { type KnownCatalog, loadCatalog, readState } from "./catalog-rows.ts";
import type { Reader } from "./reader.ts";
import type { Send } from "./statement.ts";

/** The networks as this replica saw them last; another may have changed them, which their revision tells. */
export class CatalogMemory {
  readonly #reader: Reader;
  #known: KnownCatalog;

  constructor(reader: Reader, known: KnownCatalog) {
    this.#reader = reader;
    this.#known = known;
  }

  get known(): KnownCatalog {
    return this.#known;
  }

  /** By a transaction in which nobody changes the networks: what it sees is what there is. */
  async learnAnew(send: Send): Promise<void> {
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

  #learn(catalog: KnownCatalog): Catalog {
    if (catalog.revision >= this.#known.revision) this.#known = catalog;
    return catalog.catalog;
  }
}
