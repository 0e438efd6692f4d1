import type Database from "better-sqlite3";
import { type ImportResponse, IpamError, type TransferEnd } from "../../contract/index.ts";
import type { StoreCopy } from "../../domain/store.ts";
import type { TransferRow } from "../../domain/transfer.ts";
import { copyDatabase, openCopiedDatabase, openCopy } from "./copy-database.ts";
import { exportRows } from "./export-rows.ts";
import { importRows } from "./import-rows.ts";
import { toIpamError } from "./sqlite-error.ts";

const RETRY_AFTER_SECONDS = 10;

/** Takes the store's content out and in, one at a time: each needs room on the disk, and time between the claims. */
export class Transfers {
  readonly #database: Database.Database;
  #isCopying = false;
  #isImporting = false;

  constructor(database: Database.Database) {
    this.#database = database;
  }

  get isImporting(): boolean {
    return this.#isImporting;
  }

  /** While an import's transaction is open nobody else may use the connection. */
  refuseWhileImporting(): void {
    if (!this.#isImporting) return;
    throw new IpamError("unavailable", "an import is under way; nothing else is served until it has ended", {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }

  async copy(): Promise<StoreCopy> {
    const done = this.#beginCopy();
    try {
      const copy = await openCopy(await copyDatabase(this.#database));
      return {
        ...copy,
        async [Symbol.asyncDispose]() {
          await copy[Symbol.asyncDispose]();
          done();
        },
      };
    } catch (error) {
      done();
      throw error;
    }
  }

  async *exportRows(): AsyncGenerator<TransferRow> {
    const done = this.#beginCopy();
    try {
      using copy = await openCopiedDatabase(await copyDatabase(this.#database));
      yield* exportRows(copy.database);
    } finally {
      done();
    }
  }

  /** `reload`: what was remembered of the database is of before; called also when nothing was imported. */
  async importRows(rows: AsyncIterable<TransferRow | TransferEnd>, reload: () => void): Promise<ImportResponse> {
    this.refuseWhileImporting();
    if (this.#isCopying) throw this.#overloaded();
    this.#isImporting = true;
    try {
      return await importRows(this.#database, rows);
    } catch (error) {
      throw toIpamError(error, this.#database.name);
    } finally {
      this.#isImporting = false;
      if (this.#database.open) reload();
    }
  }

  #beginCopy(): () => void {
    this.refuseWhileImporting();
    if (this.#isCopying) throw this.#overloaded();
    this.#isCopying = true;
    return () => {
      this.#isCopying = false;
    };
  }

  #overloaded(): IpamError {
    return new IpamError("overloaded", "a backup or export is under way; try again when it has ended", {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }
}
