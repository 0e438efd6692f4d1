/** A point in time that several waits share, so that a call as a whole ends in time. */
export class Deadline {
  readonly #at: number;
  readonly timeoutMs: number;

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs;
    this.#at = performance.now() + timeoutMs;
  }

  /** At least 1, so that a wait begun too late still ends through its own timer. */
  get remainingMs(): number {
    return Math.max(1, this.#at - performance.now());
  }

  /** The promise's outcome, or a rejection with `late()` once the deadline has passed. */
  async race<T>(promise: Promise<T>, late: () => Error): Promise<T> {
    const { promise: timeout, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(late()), this.remainingMs);
    try {
      return await Promise.race([promise, timeout]);
    } finally {
      clearTimeout(timer);
    }
  }
}
