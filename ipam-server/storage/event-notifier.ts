/** Tells listeners of the newest event, each number at most once and never an older one after a newer. */
export class EventNotifier {
  readonly #listeners = new Set<(lastSeq: number) => void>();
  #newest = 0;

  notify(lastSeq: number): void {
    if (lastSeq <= this.#newest) return;
    this.#newest = lastSeq;
    for (const listener of this.#listeners) queueMicrotask(() => listener(lastSeq));
  }

  add(listener: (lastSeq: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  clear(): void {
    this.#listeners.clear();
  }
}
