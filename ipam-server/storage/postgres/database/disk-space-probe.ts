import { codeOf } from "./errors.ts";
import type { Reader } from "./reader.ts";
import { prepare } from "./statement.ts";

/** A row that is no replica's. */
const PROBE_WRITABLE = prepare(
  `INSERT INTO writers VALUES ('00000000-0000-0000-0000-000000000000', 0, $1)
   ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at`,
);
/** Near a megabyte, gone with the statement's end. */
const PROBE_FREE_SPACE = prepare(
  `CREATE TEMPORARY TABLE room ON COMMIT DROP AS SELECT repeat('x', 2000) FROM generate_series(1, 400)`,
);
/** A probe wants to know how it is now. */
const READY_FOR_MS = 1000;
const DISK_FULL = "53100";

/**
 * Whether the database takes changes. On a full disk it still takes the smallest, which a page with room has place for:
 * once a change was refused for that, the proof is one that needs more.
 */
export class DiskSpaceProbe {
  readonly #reader: Reader;
  readonly #clock: () => number;
  #wasFull = false;

  constructor(reader: Reader, clock: () => number) {
    this.#reader = reader;
    this.#clock = clock;
  }

  /** Rejects with what keeps the database from taking changes. */
  async probe(): Promise<void> {
    await this.#reader.write(send => send(PROBE_WRITABLE, this.#clock()), READY_FOR_MS);
    if (!this.#wasFull) return;
    await this.#reader.write(send => send(PROBE_FREE_SPACE), READY_FOR_MS);
    this.#wasFull = false;
  }

  /** Learns from how a change went. */
  async observe<T>(change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } catch (error) {
      if (error instanceof Error && codeOf(error.cause) === DISK_FULL) this.#wasFull = true;
      throw error;
    }
  }
}
