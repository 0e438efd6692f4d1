import { existsSync, realpathSync } from "node:fs";
import Database from "better-sqlite3";

const BUSY_TIMEOUT_MS = 1000;

/**
 * Keeps a second server off the database while other threads of this one read it: an exclusive transaction, which nothing
 * commits, on an empty file next to it. The operating system ends it with the process.
 */
export class DatabaseLock implements Disposable {
  readonly #lock: Database.Database | undefined;

  /** Throws SQLITE_BUSY. */
  constructor(path: string) {
    if (path === ":memory:") return;
    const lock = new Database(`${existsSync(path) ? realpathSync(path) : path}.lock`, { timeout: BUSY_TIMEOUT_MS });
    try {
      // No file for a rollback, for which a full disk has no space.
      lock.pragma("journal_mode = MEMORY");
      lock.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      lock.close();
      throw error;
    }
    this.#lock = lock;
  }

  [Symbol.dispose](): void {
    this.#lock?.close();
  }
}
