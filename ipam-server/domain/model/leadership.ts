/** A stretch of time in which this replica, and no other, does what only one at a time may do. */
export interface Term {
  /** Grows from term to term, whichever replica leads: what a leader asks of others carries it, so that a late word of a former leader is refused. */
  number: number;
  /** Aborts when the term ends. */
  signal: AbortSignal;
}

/** Runs in each term, until its signal aborts; settles soon after and never rejects. */
export type Duty = (term: Term) => Promise<void>;

/** Where there are no other replicas: one term, until it is disposed. */
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
