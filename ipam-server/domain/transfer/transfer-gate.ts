import { IpamError } from "../../contract/index.ts";

const RETRY_AFTER_SECONDS = 10;

/** Lets one copy of a store be made at a time, each needing room and time, and nothing beside an import. */
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

  /** Until it is disposed of nobody else copies or imports. */
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
