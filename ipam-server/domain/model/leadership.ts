/** A period in which this replica alone is the leader. */
export interface Term {
  /** Grows from term to term on all replicas, so that a late write of a former leader can be rejected. */
  number: number;
  /** Aborts when the term ends. */
  signal: AbortSignal;
}

/** Runs in each term until its signal aborts, settles soon after and never rejects. */
export type Duty = (term: Term) => Promise<void>;

/** Runs one term until it is disposed, for a store without other replicas. */
export function leadAlone(number: number, duty: Duty): AsyncDisposable {
  const over = new AbortController();
  const running = duty({ number, signal: over.signal });
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await running;
    },
  };
}
