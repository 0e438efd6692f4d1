import { rmSync, writeFileSync } from "node:fs";
import Database from "better-sqlite3";

const PROOF_BYTES = 1024 * 1024;

/**
 * Whether the disk has room for more than the smallest change, which a log that has grown before takes in any case: once
 * a change was refused for want of room, the proof is a file beside the database.
 */
export class DiskSpaceProbe {
  readonly #path: string;
  #wasFull = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** Learns from a change that failed. */
  observe(error: unknown): void {
    if (error instanceof Database.SqliteError && error.code === "SQLITE_FULL") this.#wasFull = true;
  }

  /** Throws as SQLite does. */
  probe(): void {
    if (!this.#wasFull) return;
    // Copies of this name are removed at the next start.
    const proof = `${this.#path}.copy-room`;
    try {
      writeFileSync(proof, Buffer.alloc(PROOF_BYTES));
    } catch (error) {
      throw new Database.SqliteError(error instanceof Error ? error.message : String(error), "SQLITE_FULL");
    } finally {
      rmSync(proof, { force: true });
    }
    this.#wasFull = false;
  }
}
