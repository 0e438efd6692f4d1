import type Database from "better-sqlite3";
import type { ImportResponse, TransferEnd } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Finding, StoreCopy } from "../../../domain/store.ts";
import { exportStore } from "../../../domain/transfer/export-store.ts";
import type { TransferRow } from "../../../domain/transfer/transfer.ts";
import { TransferGate } from "../../../domain/transfer/transfer-gate.ts";
import { checkStore, compareCatalogs } from "../check/check-store.ts";
import { toIpamError } from "../database/errors.ts";
import type { LongReads } from "../reads/long-reads.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { copyDatabase, nameCopy, openCopiedDatabase, openCopy, removeCopy } from "./copy-database.ts";
import { SqliteSource } from "./export-rows.ts";
import { importRows } from "./import-rows.ts";

/** A database up to this size is checked in about ten milliseconds; a larger one on another thread. */
const MAX_CHECKED_AT_ONCE = 2 * 1024 * 1024;
const SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";

/** Copies, exports, imports and checks the store. The gate keeps everything else off the connection during an import. */
export class Transfers {
  readonly gate = new TransferGate();
  readonly #database: Database.Database;
  readonly #reads: LongReads;

  constructor(database: Database.Database, reads: LongReads) {
    this.#database = database;
    this.#reads = reads;
  }

  async copy(): Promise<StoreCopy> {
    const slot = this.gate.beginCopy();
    try {
      const copy = await openCopy(await copyDatabase(this.#database));
      return {
        ...copy,
        async [Symbol.asyncDispose]() {
          await copy[Symbol.asyncDispose]();
          slot[Symbol.dispose]();
        },
      };
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
  }

  async *exportRows(): AsyncGenerator<TransferRow> {
    using _slot = this.gate.beginCopy();
    using copy = await openCopiedDatabase(await this.#copyContent());
    yield* exportStore(new SqliteSource(copy.database));
  }

  async #copyContent(): Promise<string> {
    const copy = nameCopy(this.#database.name);
    try {
      await this.#reads.readTables("copy", copy);
      return copy;
    } catch (error) {
      await removeCopy(copy);
      throw toIpamError(error, copy);
    }
  }

  /** Compares the cached catalog with the database, then checks the database. */
  async check(catalog: Catalog): Promise<Finding[]> {
    const drifted = compareCatalogs(catalog, loadCatalog(this.#database));
    const bytes = this.#database.prepare<[], number>(SIZE).pluck().get() ?? 0;
    if (bytes <= MAX_CHECKED_AT_ONCE) return [...drifted, ...checkStore(this.#database, catalog)];
    using _slot = this.gate.beginCopy();
    try {
      return [...drifted, ...(await this.#reads.readTables("check", undefined))];
    } catch (error) {
      throw toIpamError(error, this.#database.name);
    }
  }

  /** @param reload reads again what is cached of the database; called also when the import fails */
  async importRows(rows: AsyncIterable<TransferRow | TransferEnd>, reload: () => void): Promise<ImportResponse> {
    const slot = this.gate.beginImport();
    try {
      return await importRows(this.#database, rows);
    } catch (error) {
      throw toIpamError(error, this.#database.name);
    } finally {
      slot[Symbol.dispose]();
      if (this.#database.open) reload();
    }
  }
}
