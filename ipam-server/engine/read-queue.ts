import { IpamError } from "../contract/index.ts";
import { Semaphore } from "../process/semaphore.ts";

interface ReadQueueOptions {
  /** Reads that run at a time. */
  concurrency: number;
  /** Reads that may wait; past it callers get `overloaded`. */
  maxWaiting?: number;
  /** Milliseconds on a clock that never jumps. */
  now?(): number;
}

interface ReadDeadline {
  /** How long the caller will still wait. */
  timeoutMs: number;
  /** True if the caller has disconnected. */
  isGone(): boolean;
}

const MAX_WAITING = 1000;

/**
 * Runs lists, look-ups and checks in order of arrival. Each begins in its own turn of the event loop, in which waiting
 * changes are committed too: a change waits for `concurrency` reads at most.
 */
export class ReadQueue {
  readonly #options: Required<ReadQueueOptions>;
  readonly #semaphore: Semaphore;

  constructor(options: ReadQueueOptions) {
    this.#options = { maxWaiting: MAX_WAITING, now: () => performance.now(), ...options };
    this.#semaphore = new Semaphore(options.concurrency);
  }

  /** Rejects with `overloaded`, with `unavailable` when the deadline passes before it begins, and with what the work rejects with. */
  async run<T>(work: () => Promise<T>, { timeoutMs, isGone }: ReadDeadline): Promise<T> {
    const { maxWaiting, now } = this.#options;
    const deadline = now() + timeoutMs;
    if (!this.#semaphore.tryAcquire()) {
      const { waiting } = this.#semaphore;
      if (waiting >= maxWaiting) throw overloaded(waiting);
      await this.#semaphore.acquire();
    }
    try {
      if (isGone()) throw new IpamError("unavailable", "the client has disconnected");
      if (now() >= deadline) throw new IpamError("unavailable", "your deadline passed before the read was begun");
      return await work();
    } finally {
      setImmediate(() => this.#semaphore.release());
    }
  }
}

function overloaded(waiting: number): IpamError {
  return new IpamError("overloaded", `${waiting} reads are waiting; try again in a second`, { retryAfterSeconds: 1 });
}
