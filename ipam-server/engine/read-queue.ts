import { IpamError } from "../contract/index.ts";
import { Semaphore } from "../process/semaphore.ts";

export interface ReadQueueOptions {
  /** Reads that are under way at a time. */
  concurrency: number;
  /** Reads that may wait; past it callers get `overloaded`. */
  maxWaiting?: number;
  /** Milliseconds on a clock that never jumps. */
  now?(): number;
}

export interface ReadDeadline {
  /** How long the caller will still wait. */
  timeoutMs: number;
  /** Whether the caller is gone: nobody would get the answer. */
  isGone(): boolean;
}

const MAX_WAITING = 1000;

/**
 * Lists, look-ups and checks, in order of arrival. Each begins in a turn of the event loop of its own, in which whatever
 * changes are waiting are committed too: however many reads there are, a change waits for as many as there are lanes.
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
      if (isGone()) throw new IpamError("unavailable", "nobody waits for the answer any more");
      if (now() >= deadline) throw new IpamError("unavailable", "your deadline passed before the read was begun");
      return await work();
    } finally {
      setImmediate(() => this.#semaphore.release());
    }
  }
}

function overloaded(waiting: number): IpamError {
  return new IpamError("overloaded", `${waiting} reads are waiting; come back in a second`, { retryAfterSeconds: 1 });
}
