export interface BatchQueueOptions<I, R> {
  /** Results in the order of the items. */
  send(items: I[]): Promise<R[]>;
  maxItems: number;
  /** How long one request makes the next wait. Default 25. */
  holdMs?: number;
}

interface Waiting<I, R> {
  item: I;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

/**
 * Sends what arrives together as one request: the first at the end of this turn of the event loop, and what arrives while
 * a request is under way with the next, which leaves when that one is answered, or is slow. So one call alone waits for
 * nobody, and a hundred make a few requests.
 */
export class BatchQueue<I, R> {
  readonly #options: BatchQueueOptions<I, R>;
  #waiting: Waiting<I, R>[] = [];
  #isHeld = false;
  #isScheduled = false;

  constructor(options: BatchQueueOptions<I, R>) {
    this.#options = options;
  }

  push(item: I): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    this.#waiting.push({ item, resolve, reject });
    this.#schedule();
    return promise;
  }

  #schedule(): void {
    if (this.#isHeld || this.#isScheduled || this.#waiting.length === 0) return;
    this.#isScheduled = true;
    // After the sockets that are readable now were read: their calls belong to the same batch.
    setImmediate(() => {
      this.#isScheduled = false;
      void this.#send();
    });
  }

  async #send(): Promise<void> {
    const batch = this.#waiting.splice(0, this.#options.maxItems);
    if (batch.length === 0) return;
    this.#isHeld = true;
    let isOver = false;
    const letNextGo = () => {
      if (isOver) return;
      isOver = true;
      this.#isHeld = false;
      this.#schedule();
    };
    const timer = setTimeout(letNextGo, this.#options.holdMs ?? 25);
    try {
      const results = await this.#options.send(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      clearTimeout(timer);
      letNextGo();
    }
  }
}
