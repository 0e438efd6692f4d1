import type Database from "better-sqlite3";
import type { ImportResponse, TransferEnd } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Finding, StoreCopy } from "../../../domain/store.ts";
import { exportStore } from "../../../domain/transfer/export-store.ts";
import type { TransferRow } from "../../../domain/transfer/transfer.ts";
import { TransferGate } from "../../../domain/transfer/transfer-gate.ts";
import { checkCopy } from "../check/check-copy.ts";
import { checkStore, compareCatalogs } from "../check/check-store.ts";
import { toIpamError } from "../database/errors.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { copyDatabase, openCopiedDatabase, openCopy } from "./copy-database.ts";
import { SqliteSource } from "./export-rows.ts";
import { importRows } from "./import-rows.ts";

/** Bytes that are looked through in some ten milliseconds; more, be it history alone, on another thread. */
const MAX_CHECKED_AT_ONCE = 2 * 1024 * 1024;
const SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";

/** Takes the store's content out and in. While an import's transaction is open nobody else may use the connection. */
export class Transfers {
  readonly gate = new TransferGate();
  readonly #database: Database.Database;

  constructor(database: Database.Database) {
    this.#database = database;
  }

  async copy(): Promise<StoreCopy> {
    const turn = this.gate.beginCopy();
    try {
      const copy = await openCopy(await copyDatabase(this.#database));
      return {
        ...copy,
        async [Symbol.asyncDispose]() {
          await copy[Symbol.asyncDispose]();
          turn[Symbol.dispose]();
        },
      };
    } catch (error) {
      turn[Symbol.dispose]();
      throw error;
    }
  }

  async *exportRows(): AsyncGenerator<TransferRow> {
    using _turn = this.gate.beginCopy();
    using copy = await openCopiedDatabase(await copyDatabase(this.#database));
    yield* exportStore(new SqliteSource(copy.database));
  }

  /** A store that is large is copied for it. What is in memory is compared with what it should be at once. */
  async check(catalog: Catalog): Promise<Finding[]> {
    const drifted = compareCatalogs(catalog, loadCatalog(this.#database));
    const bytes = this.#database.prepare<[], number>(SIZE).pluck().get() ?? 0;
    if (bytes <= MAX_CHECKED_AT_ONCE) return [...drifted, ...checkStore(this.#database, catalog)];
    using _turn = this.gate.beginCopy();
    try {
      return [...drifted, ...(await checkCopy(this.#database))];
    } catch (error) {
      throw toIpamError(error, this.#database.name);
    }
  }

  /** `reload`: what was remembered of the database is of before; called also when nothing was imported. */
  async importRows(rows: AsyncIterable<TransferRow | TransferEnd>, reload: () => void): Promise<ImportResponse> {
    const turn = this.gate.beginImport();
    try {
      return await importRows(this.#database, rows);
    } catch (error) {
      throw toIpamError(error, this.#database.name);
    } finally {
      turn[Symbol.dispose]();
      if (this.#database.open) reload();
    }
  }
}
