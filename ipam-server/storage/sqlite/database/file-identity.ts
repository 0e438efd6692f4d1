import { type BigIntStats, statSync } from "node:fs";
import { IpamError } from "../../../contract/index.ts";

/**
 * Tells when the file that is open is no longer the one of its path: SQLite would go on writing to a file that the next
 * start does not find, and everything acknowledged meanwhile would be lost.
 */
export class FileIdentity {
  readonly #path: string;
  readonly #opened: BigIntStats | undefined;

  /** To be made right after the file was opened. */
  constructor(path: string) {
    this.#path = path;
    this.#opened = this.#look();
  }

  /** Throws `unavailable`. */
  assertUnchanged(): void {
    const now = this.#look();
    if (now?.ino === this.#opened?.ino && now?.dev === this.#opened?.dev) return;
    const what = now === undefined ? "was moved or removed" : "was replaced by another file";
    throw new IpamError(
      "unavailable",
      `the database ${this.#path} ${what} while the server has it open, so no change would last; put the file back, or restart the server to go on with what is there`,
    );
  }

  #look(): BigIntStats | undefined {
    return statSync(this.#path, { bigint: true, throwIfNoEntry: false });
  }
}
