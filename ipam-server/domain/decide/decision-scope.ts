import type { WorkloadRetention } from "../../contract/index.ts";
import type { RecoveryState } from "../recovery/recovery-state.ts";
import type { WorkingState } from "./working-state.ts";

/** Default of `DecisionContext.leaseMs`: longer than most outages of the IPAM. */
export const LEASE_MS = 3_600_000;

/** What the store and its configuration add to the snapshot. */
export interface DecisionContext {
  /** Milliseconds since the epoch; the same for all items of a batch. */
  now: number;
  /** How long a freed address waits before another port may have it. */
  reuseDelayMs: number;
  /** How long a node may assign a leased address after it was leased or renewed. */
  leaseMs: number;
  /** The server's times for ports whose workload no longer needs them. */
  retention: Required<WorkloadRetention>;
  /** True: a fabric driver reports the overlay plane. False: the fabric is static, the overlay always ready. */
  fabricManaged: boolean;
  /**
   * Every new binding's epoch is greater. Set after a restore from a backup, because bindings made after the backup
   * are missing from it and must not be newer than those to come. Default 0.
   */
  minimumEpoch?: number;
  /** After a restore, until every host has reported. */
  recovery?: RecoveryState | undefined;
  /** Returns a new unique port id. */
  newId: () => string;
}

/** What every decision on an item works with. */
export interface DecisionScope {
  working: WorkingState;
  context: DecisionContext;
  /** Named in the events that the item causes. */
  caller: string;
}
