/**
 * Work that must not interleave takes turns: what has the same key runs one after another in order of arrival, the rest
 * beside each other. Keys are `sandboxId/interface` (see `sandboxKey`).
 */
export class KeyedQueue {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Rejects as the work does. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const turn = before === undefined ? work() : before.then(work, work);
    const settled = turn.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return turn;
  }

  /** Whether anything runs or waits under the key. */
  isTaken(key: string): boolean {
    return this.#last.has(key);
  }

  /** Resolves when all that runs or waits now is over; what comes meanwhile is not waited for. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  /** Resolves when nothing runs any more. */
  async drained(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }
}

export const sandboxKey = (sandboxId: string, ifname: string): string => `${sandboxId}/${ifname}`;
