/** Runs work of the same key one at a time, in order of arrival; different keys run concurrently. See `sandboxKey`. */
export class KeyedQueue {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Settles as the work does. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const previous = this.#last.get(key);
    const running = previous === undefined ? work() : previous.then(work, work);
    const settled = running.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return running;
  }

  /** True if work of this key runs or waits. */
  isBusy(key: string): boolean {
    return this.#last.has(key);
  }

  /** Resolves when all work that runs or waits now has settled. Does not wait for work that is added later. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  /** Resolves when the queue is empty. */
  async drained(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }
}

export const sandboxKey = (sandboxId: string, ifname: string): string => `${sandboxId}/${ifname}`;
