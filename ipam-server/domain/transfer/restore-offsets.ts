/**
 * How far counters go on ahead of a backup that was restored: of what happened after it was taken nothing is known in
 * it, but nodes, readers and pods still have it (bindings with greater epochs, events with greater numbers, MACs made of
 * greater keys, words of leaders of later terms), and none may be given out again. Further than they can have come between it and its restoration; each
 * leaves room for a thousand restorations within what JavaScript counts exactly, or for keys, in the 32 bits of a MAC.
 */
export const EPOCH_SKIP = 1_000_000;
export const EVENT_SKIP = 100_000_000_000;
export const KEY_SKIP = 1_000_000;
export const TERM_SKIP = 1_000_000;

/** What a database holds after it was restored. */
export interface RestoredContent {
  /** The time of the last change that the backup has. */
  newestChange?: number;
  networks: number;
  ports: number;
  bound: number;
  minimumEpoch: number;
  minimumSeq: number;
}
