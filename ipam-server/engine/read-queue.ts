import { IpamError } from "../contract/index.ts";

export interface ReadQueueOptions {
  /** Reads that are under way at a time. */
  lanes: number;
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
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(options: ReadQueueOptions) {
    this.#options = { maxWaiting: MAX_WAITING, now: () => performance.now(), ...options };
    this.#free = options.lanes;
  }

  /** Rejects with `overloaded`, with `unavailable` when the deadline passes before it begins, and with what the work rejects with. */
  async run<T>(work: () => Promise<T>, { timeoutMs, isGone }: ReadDeadline): Promise<T> {
    const { maxWaiting, now } = this.#options;
    const deadline = now() + timeoutMs;
    if (this.#free > 0) this.#free--;
    else if (this.#waiting.length < maxWaiting) await new Promise<void>(resolve => this.#waiting.push(resolve));
    else throw overloaded(this.#waiting.length);
    try {
      if (isGone()) throw new IpamError("unavailable", "nobody waits for the answer any more");
      if (now() >= deadline) throw new IpamError("unavailable", "your deadline passed before the read was begun");
      return await work();
    } finally {
      setImmediate(() => this.#pass());
    }
  }

  /** The lane goes on with the next that waits. */
  #pass(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}

function overloaded(waiting: number): IpamError {
  return new IpamError("overloaded", `${waiting} reads are waiting; come back in a second`, { retryAfterSeconds: 1 });
}
