/** Limits how many holders run at a time; the others wait in order of arrival. */
export class Semaphore {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(size: number) {
    this.#free = size;
  }

  /** How many callers wait in `acquire`. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes a free place without waiting. False: all are taken. */
  tryAcquire(): boolean {
    if (this.#free === 0) return false;
    this.#free--;
    return true;
  }

  /** Resolves when the caller has a place. Pair it with `release`. */
  async acquire(): Promise<void> {
    if (!this.tryAcquire()) await new Promise<void>(resolve => this.#waiting.push(resolve));
  }

  /** Hands the place to the caller that has waited longest; a later `acquire` cannot overtake it. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }

  /** Runs the work while holding a place. Rejects as the work does. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await work();
    } finally {
      this.release();
    }
  }
}
