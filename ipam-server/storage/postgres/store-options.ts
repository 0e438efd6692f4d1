import type { StoreOptions } from "../store-options.ts";
import type { Timeouts } from "./database/connect.ts";
import type { LeadershipTimes } from "./replicas/leadership.ts";

export const RETRY_FOR_MS = 10_000;
/** The size of PostgreSQL's volume is not known to its clients. */
export const DEFAULT_EVENT_BYTES = 20 * 2 ** 30;

export interface PostgresStoreOptions extends StoreOptions {
  /** `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE`. */
  url: string;
  /** Connections for long reads, in addition to the four that each have one purpose (docs/operations.md). Default 4. */
  readers?: number;
  /** How long a change or a read is retried while the database is unreachable or other replicas conflict. Default 10,000. */
  retryForMs?: number;
  /** How often the newest event is polled in addition to the notifications. Default 5,000. */
  pollMs?: number;
  /** Reports that the database was promoted, and that its counters were raised. */
  onPromotion?: (message: string) => void;
  timeouts?: Partial<Timeouts>;
  leadership?: Partial<LeadershipTimes>;
}
