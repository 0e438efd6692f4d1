import { rmSync, writeFileSync } from "node:fs";
import Database from "better-sqlite3";
import { isDiskFull } from "./errors.ts";

const PROBE_BYTES = 1024 * 1024;

/**
 * Detects when a full disk has space again. The smallest change proves nothing, because it fits into a log that has grown
 * before; so after a change failed for lack of space, the probe writes a file next to the database.
 */
export class DiskSpaceProbe {
  readonly #path: string;
  /** The server may have started on a full disk. */
  #wasFull = true;

  constructor(path: string) {
    this.#path = path;
  }

  /** To be called with the error of a failed change. */
  observe(error: unknown): void {
    if (isDiskFull(error)) this.#wasFull = true;
  }

  /** Throws SQLite's error for a full disk while there is no space, and nothing is reserved either. */
  probe(reserved = 0): void {
    if (this.#wasFull && reserved === 0) this.#write();
    this.#wasFull = false;
  }

  #write(): void {
    // The prefix makes the next start remove a remaining file.
    const probe = `${this.#path}.copy-room`;
    try {
      writeFileSync(probe, Buffer.alloc(PROBE_BYTES));
    } catch (error) {
      throw new Database.SqliteError(error instanceof Error ? error.message : String(error), "SQLITE_FULL");
    } finally {
      rmSync(probe, { force: true });
    }
  }
}
