import type Database from "better-sqlite3";
import type { ImportResponse, TransferEnd } from "../../contract/index.ts";
import { exportStore } from "../../domain/export-store.ts";
import type { StoreCopy } from "../../domain/store.ts";
import type { TransferRow } from "../../domain/transfer.ts";
import { TransferGate } from "../../domain/transfer-gate.ts";
import { copyDatabase, openCopiedDatabase, openCopy } from "./copy-database.ts";
import { SqliteSource } from "./export-rows.ts";
import { importRows } from "./import-rows.ts";
import { toIpamError } from "./sqlite-error.ts";

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
