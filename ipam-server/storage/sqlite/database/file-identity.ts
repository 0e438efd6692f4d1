import { type BigIntStats, statSync } from "node:fs";
import { IpamError } from "../../../contract/index.ts";

/**
 * Detects that the open file is no longer the one at its path. SQLite would keep writing to it, but the next start would
 * not find it, and everything acknowledged meanwhile would be lost.
 */
export class FileIdentity {
  readonly #path: string;
  readonly #opened: BigIntStats | undefined;

  /** Construct it right after the file was opened. */
  constructor(path: string) {
    this.#path = path;
    this.#opened = this.#stat();
  }

  /** Throws `unavailable`. */
  assertUnchanged(): void {
    const now = this.#stat();
    if (now?.ino === this.#opened?.ino && now?.dev === this.#opened?.dev) return;
    const what = now === undefined ? "was moved or removed" : "was replaced by another file";
    throw new IpamError(
      "unavailable",
      `the database ${this.#path} ${what} while the server has it open, so no change would last; put the file back, or restart the server to continue with the file that is there`,
    );
  }

  #stat(): BigIntStats | undefined {
    return statSync(this.#path, { bigint: true, throwIfNoEntry: false });
  }
}
