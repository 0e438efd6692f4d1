import { IpamError } from "../../contract/index.ts";

const RETRY_AFTER_SECONDS = 10;

/** Allows one copy of a store at a time, because each needs disk space and time, and nothing else during an import. */
export class TransferGate {
  #isCopying = false;
  #isImporting = false;

  get isImporting(): boolean {
    return this.#isImporting;
  }

  assertNotImporting(): void {
    if (!this.#isImporting) return;
    throw new IpamError("unavailable", "an import is under way; nothing else is served until it has ended", {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }

  /** Blocks other copies and imports until it is disposed. Throws `overloaded` while another copy runs. */
  beginCopy(): Disposable {
    this.#assertIdle();
    this.#isCopying = true;
    return { [Symbol.dispose]: () => (this.#isCopying = false) };
  }

  beginImport(): Disposable {
    this.#assertIdle();
    this.#isImporting = true;
    return { [Symbol.dispose]: () => (this.#isImporting = false) };
  }

  #assertIdle(): void {
    this.assertNotImporting();
    if (!this.#isCopying) return;
    throw new IpamError("overloaded", "a backup, export or check is under way; try again when it has ended", {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }
}
