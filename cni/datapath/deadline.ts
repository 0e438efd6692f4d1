/** One deadline for all waits of a call. */
export class Deadline {
  readonly #at: number;
  readonly timeoutMs: number;

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs;
    this.#at = performance.now() + timeoutMs;
  }

  /** At least 1, so that a wait that begins too late still ends by its own timer. */
  get remainingMs(): number {
    return Math.max(1, this.#at - performance.now());
  }

  /** Settles as the promise does, or rejects with `late()` at the deadline. */
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
