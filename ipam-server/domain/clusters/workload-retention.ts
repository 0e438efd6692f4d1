import type { Retention, RetentionTime, WorkloadRetention } from "../../contract/index.ts";
import type { NetworkRecord } from "../model/catalog.ts";
import type { PortRecord } from "../model/port-record.ts";

/** A week: longer than most mistakes take to be noticed. */
export const DEFAULT_RETENTION: Required<WorkloadRetention> = { whenDeleted: 604_800, whenScaled: 604_800 };

/** The times alone, in one order of keys. */
export function toWorkloadRetention({ whenDeleted, whenScaled }: WorkloadRetention): WorkloadRetention {
  return { ...(whenDeleted !== undefined && { whenDeleted }), ...(whenScaled !== undefined && { whenScaled }) };
}

/** Copies a retention, in one order of keys. */
export function toRetention({ policy, ttlSeconds, ...times }: Retention): Retention {
  return { policy, ...(ttlSeconds !== undefined && { ttlSeconds }), ...toWorkloadRetention(times) };
}

/** True if the port is kept as long as its workload needs it, and a time beyond. */
export function followsWorkload({ retention, reservation, isProtected }: PortRecord): boolean {
  const isKeptForIt = retention.policy === "sticky" && retention.ttlSeconds === undefined;
  return isKeptForIt && reservation === undefined && !isProtected;
}

/** The port's own time, else its network's, else the server's. */
export function retentionTimeOf(
  { retention }: PortRecord,
  network: NetworkRecord,
  defaults: Required<WorkloadRetention>,
  need: "deleted" | "scaled",
): RetentionTime {
  const key = need === "deleted" ? "whenDeleted" : "whenScaled";
  return retention[key] ?? network.retention?.[key] ?? defaults[key];
}
