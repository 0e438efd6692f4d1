import { randomFillSync } from "node:crypto";
import { existsSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { readVolume } from "./disk-usage.ts";

/** Half of it is what the log may add to the database before it is copied: about what a log of its full length adds. */
const MAX_BYTES = 128 * 1024 * 1024;
const VOLUME_SHARE = 16;
const CHUNK_BYTES = 1024 * 1024;

/**
 * A file next to the database that holds space, to be deleted when the disk is full: a log whose pages extend the
 * database cannot be copied into it without.
 */
export class DiskReserve {
  readonly size: number;
  readonly #path: string;

  constructor(database: string) {
    this.#path = `${database}.reserve`;
    this.size = Math.floor(Math.min(MAX_BYTES, readVolume(database).size / VOLUME_SHARE));
  }

  /** Bytes that are held: all or none. */
  get held(): number {
    return statSync(this.#path, { throwIfNoEntry: false })?.size === this.size ? this.size : 0;
  }

  /** Returns whether there was something to release. */
  release(): boolean {
    const existed = existsSync(this.#path);
    rmSync(this.#path, { force: true });
    return existed;
  }

  /** Holds space again once twice as much is free. Returns whether it does so since this call. */
  async build(): Promise<boolean> {
    if (this.held > 0) return false;
    // Another server's part of it, or of when the volume had another size.
    this.release();
    if (readVolume(this.#path).free < 2 * this.size) return false;
    try {
      await this.#write();
    } catch (error) {
      this.release();
      throw error;
    }
    return true;
  }

  /** Writes what no file system compresses. No sync, because the file system has set the space aside by then. */
  async #write(): Promise<void> {
    await using file = await open(this.#path, "wx", 0o600);
    const chunk = randomFillSync(Buffer.alloc(Math.min(CHUNK_BYTES, this.size)));
    for (let written = 0; written < this.size; written += chunk.length) {
      await file.writeFile(chunk.subarray(0, this.size - written));
    }
  }
}
