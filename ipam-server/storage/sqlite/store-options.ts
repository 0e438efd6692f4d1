export interface SqliteStoreOptions {
  /** The database file; made if there is none. Its directory must exist. */
  path: string;
  /** How long a freed address waits before another port may have it. Default 60,000. */
  reuseDelayMs?: number;
  /** How long a node may give away a leased address after it was leased or prolonged. Default an hour. */
  leaseMs?: number;
  /** True: a fabric driver reports the overlay plane. Default: the fabric is static, the overlay always ready. */
  fabricManaged?: boolean;
  /** How long events are kept. Default 30 days. */
  eventRetentionMs?: number;
  /** Milliseconds since the epoch. */
  clock?: () => number;
  /** For tests: called at each step inside a transaction; what it throws stands for a crash there. */
  failpoint?: (step: string) => void;
}
