/** Notifies listeners of the newest event. Each number is delivered at most once, and numbers only grow. */
export class EventNotifier {
  readonly #listeners = new Set<(lastSeq: number) => void>();
  #newest = 0;

  notify(lastSeq: number): void {
    if (lastSeq <= this.#newest) return;
    this.#newest = lastSeq;
    for (const listener of this.#listeners) queueMicrotask(() => listener(lastSeq));
  }

  /** Returns a function that removes the listener. */
  add(listener: (lastSeq: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  clear(): void {
    this.#listeners.clear();
  }
}
