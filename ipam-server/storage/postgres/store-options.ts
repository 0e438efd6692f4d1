import type { Timeouts } from "./database/connect.ts";
import type { LeadershipTimes } from "./replicas/leadership.ts";

export interface PostgresStoreOptions {
  /** `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE`. */
  url: string;
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
  /** Connections for reads that take long, beside the four that each do one thing (docs/operations.md). Default 4. */
  readers?: number;
  /** How long a change or a read is tried again while the database is away or others are in the way. Default 10,000. */
  retryForMs?: number;
  /** How often the newest event is looked for beside being told of it. Default 5,000. */
  pollMs?: number;
  timeouts?: Partial<Timeouts>;
  leadership?: Partial<LeadershipTimes>;
  /** For tests: called at each step inside a transaction; what it throws stands for a crash there. */
  failpoint?: (step: string) => void;
}
