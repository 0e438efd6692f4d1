/**
 * How far counters skip after a restore, because nodes, readers and pods still have epochs, events, keys and terms given
 * out after the backup. Greater than any real loss, and small enough for a thousand restores (2^53; keys: 32 bits of a MAC).
 */
export const EPOCH_SKIP = 1_000_000;
export const EVENT_SKIP = 100_000_000_000;
export const KEY_SKIP = 1_000_000;
export const TERM_SKIP = 1_000_000;

/** The content of a restored database. */
export interface RestoredContent {
  /** The time of the last change in the backup. */
  newestChange?: number;
  networks: number;
  ports: number;
  bound: number;
  minimumEpoch: number;
  minimumSeq: number;
}
