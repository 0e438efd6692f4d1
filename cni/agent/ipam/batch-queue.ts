interface BatchQueueOptions<I, R> {
  /** Resolves with the results in the order of the items. */
  send(items: I[]): Promise<R[]>;
  maxItems: number;
  /** Starts the next request after this time even if the last one is unanswered. Default 25. */
  holdMs?: number;
}

interface Waiting<I, R> {
  item: I;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

/**
 * Batches items into requests. The first request leaves at the end of this event-loop iteration; items that arrive while
 * it is in flight share the next one. One item alone is not delayed, and a hundred need few requests.
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
    // After all readable sockets were read, so that their calls share the batch.
    setImmediate(() => {
      this.#isScheduled = false;
      void this.#send();
    });
  }

  async #send(): Promise<void> {
    const batch = this.#waiting.splice(0, this.#options.maxItems);
    if (batch.length === 0) return;
    this.#isHeld = true;
    let isNextStarted = false;
    const startNext = () => {
      if (isNextStarted) return;
      isNextStarted = true;
      this.#isHeld = false;
      this.#schedule();
    };
    const timer = setTimeout(startNext, this.#options.holdMs ?? 25);
    try {
      const results = await this.#options.send(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      clearTimeout(timer);
      startNext();
    }
  }
}
