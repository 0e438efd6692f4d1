import type { Timestamp } from "./values.ts";

/**
 * `GET /v1/recovery`: after a restore from a backup, what pods have plugged is claimed again before anything new is assigned.
 * Ends when every host has reported, when a person ends it, or at `until`.
 */
export type Recovery =
  | { active: false }
  | { active: true; since: Timestamp; until: Timestamp; waitingFor: RecoveringHost[] };

/** A host of which the IPAM does not know yet that everything it has plugged is claimed. */
export interface RecoveringHost {
  cluster?: string;
  host: string;
  /** How many interfaces it still has to claim or release; absent until its first report. */
  pending?: number;
}

/** `POST /v1/recovery/reports`: an agent's comparison of what is plugged on its host with the IPAM. */
export type RecoveryReport = Required<Pick<RecoveringHost, "host" | "pending">> & Pick<RecoveringHost, "cluster">;
