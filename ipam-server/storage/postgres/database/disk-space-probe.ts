import { codeOf } from "./errors.ts";
import type { Reader } from "./reader.ts";
import { prepare } from "./statement.ts";

/** Writes a row that belongs to no replica. */
const PROBE_WRITABLE = prepare(
  `INSERT INTO writers VALUES ('00000000-0000-0000-0000-000000000000', 0, $1)
   ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at`,
);
/** Allocates nearly a megabyte, which the end of the statement frees. */
const PROBE_FREE_SPACE = prepare(
  `CREATE TEMPORARY TABLE probe ON COMMIT DROP AS SELECT repeat('x', 2000) FROM generate_series(1, 400)`,
);
/** A short deadline, because a probe reports the present state. */
const PROBE_TIMEOUT_MS = 1000;
const DISK_FULL = "53100";

/**
 * Probes whether the database accepts changes. The smallest change proves nothing on a full disk, because it fits into an
 * existing page; so after a change failed for lack of space, the probe also allocates some.
 */
export class DiskSpaceProbe {
  readonly #reader: Reader;
  readonly #clock: () => number;
  #wasFull = false;

  constructor(reader: Reader, clock: () => number) {
    this.#reader = reader;
    this.#clock = clock;
  }

  /** Rejects with the reason if the database accepts no changes. */
  async probe(): Promise<void> {
    await this.#reader.write(send => send(PROBE_WRITABLE, this.#clock()), PROBE_TIMEOUT_MS);
    if (!this.#wasFull) return;
    await this.#reader.write(send => send(PROBE_FREE_SPACE), PROBE_TIMEOUT_MS);
    this.#wasFull = false;
  }

  /** Runs a change and observes whether it fails for lack of disk space. */
  async observe<T>(change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } catch (error) {
      if (error instanceof Error && codeOf(error.cause) === DISK_FULL) this.#wasFull = true;
      throw error;
    }
  }
}
