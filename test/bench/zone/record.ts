/** What agents saw since it was taken last. Times in milliseconds. */
export interface Seen {
  /** Of ADD: from its first try until it has its port, all repetitions and pauses of the runtime included. */
  addMs: number[];
  /** Durations of pre-claims. */
  preclaimMs: number[];
  /** Of a release that the IPAM has taken. */
  releaseMs: number[];
  /** From a commit's time until the event is at a node it is about. */
  eventDelayMs: number[];
  /** Events that came, whomever they are about. */
  events: number;
  /** Failures that a caller met after the client's own repetitions, by code. */
  errors: Record<string, number>;
  journaled: number;
  /** Ports that a comparison released, and ports that it claimed again. */
  swept: number;
  reclaimed: number;
  streamBreaks: number;
}

export function nothingSeen(): Seen {
  return {
    ...{ addMs: [], preclaimMs: [], releaseMs: [], eventDelayMs: [], errors: {} },
    ...{ events: 0, journaled: 0, swept: 0, reclaimed: 0, streamBreaks: 0 },
  };
}

export function countError(seen: Seen, code: string): void {
  seen.errors[code] = (seen.errors[code] ?? 0) + 1;
}

export function mergeSeen(all: readonly Seen[]): Seen {
  const total = nothingSeen();
  for (const seen of all) {
    for (const key of ["addMs", "preclaimMs", "releaseMs", "eventDelayMs"] as const)
      total[key] = total[key].concat(seen[key]);
    for (const key of ["events", "journaled", "swept", "reclaimed", "streamBreaks"] as const) total[key] += seen[key];
    for (const [code, count] of Object.entries(seen.errors)) total.errors[code] = (total.errors[code] ?? 0) + count;
  }
  return total;
}
