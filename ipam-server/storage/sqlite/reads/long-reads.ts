import type Database from "better-sqlite3";
import type { IpamError } from "../../../contract/index.ts";
import { ReadThread } from "./read-thread.ts";
import { type ReadInput, type ReadKind, type ReadResult, runRead } from "./run-read.ts";

/**
 * Runs reads on other threads, so that no commit waits for them: pages on one thread, which starts with the first page,
 * and a read of complete tables on a thread of its own. A database that only one connection may open is read here.
 */
export class LongReads implements AsyncDisposable {
  readonly #database: Database.Database;
  readonly #isAlone: boolean;
  #pages: ReadThread | undefined;
  readonly #tables = new Set<ReadThread>();

  constructor(database: Database.Database) {
    this.#database = database;
    this.#isAlone = database.memory || database.pragma("locking_mode", { simple: true }) === "exclusive";
  }

  async readPage<K extends ReadKind>(kind: K, input: ReadInput<K>): Promise<ReadResult<K>> {
    if (this.#isAlone) return runRead(this.#database, kind, input);
    if (this.#pages === undefined || this.#pages.hasEnded) this.#pages = new ReadThread(this.#database.name);
    return this.#pages.run(kind, input);
  }

  async readTables<K extends ReadKind>(kind: K, input: ReadInput<K>): Promise<ReadResult<K>> {
    if (this.#isAlone) return runRead(this.#database, kind, input);
    await using thread = new ReadThread(this.#database.name);
    this.#tables.add(thread);
    try {
      return await thread.run(kind, input);
    } finally {
      this.#tables.delete(thread);
    }
  }

  /** Ends all reads that run; they reject with the reason. */
  stop(reason: IpamError): void {
    for (const thread of this.#tables) thread.stop(reason);
    this.#pages?.stop(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pages?.[Symbol.asyncDispose]();
  }
}
