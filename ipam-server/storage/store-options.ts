import { randomUUID } from "node:crypto";
import type { WorkloadRetention } from "../contract/index.ts";
import { DEFAULT_RETENTION } from "../domain/clusters/workload-retention.ts";
import { type DecisionContext, LEASE_MS } from "../domain/decide/decision-scope.ts";
import type { ReuseTimes } from "../domain/networks/cooling.ts";
import type { HistoryLimits } from "./event-size.ts";

const DAY_MS = 86_400_000;

/** Options of a store that do not depend on its engine. */
export interface StoreOptions {
  /** How long a freed address waits before another port may hold it. Default 60,000. */
  reuseDelayMs?: number;
  /** How long a node may assign a leased address after it was leased or renewed. Default an hour. */
  leaseMs?: number;
  /** How long ports are kept that their workload no longer needs. Default 7 days. */
  retention?: Required<WorkloadRetention>;
  /** True: a fabric driver reports the overlay plane. Default false: the fabric is static, the overlay always ready. */
  fabricManaged?: boolean;
  /** How long events are kept. Default 30 days. */
  eventRetentionMs?: number;
  /** Bytes that events may take. The default is the engine's. */
  eventBytes?: number;
  /** Milliseconds since the epoch. */
  clock?: () => number;
  /** Test failpoint, called at each step inside a transaction: throw to simulate a crash at this step. */
  failpoint?: (step: string) => void;
}

export const reuseDelayOf = ({ reuseDelayMs = 60_000 }: StoreOptions): number => reuseDelayMs;
export const reuseTimesOf = (options: StoreOptions, now: number): ReuseTimes => ({
  now,
  reuseDelayMs: reuseDelayOf(options),
});
const eventRetentionOf = ({ eventRetentionMs = 30 * DAY_MS }: StoreOptions): number => eventRetentionMs;

export const historyLimitsOf = (options: StoreOptions, defaultBytes: number): HistoryLimits => ({
  retentionMs: eventRetentionOf(options),
  maxBytes: options.eventBytes ?? defaultBytes,
});

/** The context in which a batch is decided; a restored database adds its minimum epoch. */
export function buildContext(options: StoreOptions, now: number): DecisionContext {
  return {
    now,
    reuseDelayMs: reuseDelayOf(options),
    leaseMs: options.leaseMs ?? LEASE_MS,
    retention: options.retention ?? DEFAULT_RETENTION,
    fabricManaged: options.fabricManaged ?? false,
    newId: randomUUID,
  };
}
