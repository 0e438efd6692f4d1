import type { RetentionTime, WorkloadReport, WorkloadReportResult } from "../../contract/index.ts";
import { followsWorkload, retentionTimeOf } from "../clusters/workload-retention.ts";
import { type PortRecord, toTimestamp } from "../model/port-record.ts";
import { removePort } from "./decide-delete.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { emitPortEvent } from "./port-event.ts";

/**
 * Keeps an unbound port that its workload no longer needs for the time of its retention, from the first report on; a
 * report that the workload needs it again, and any claim, ends that.
 */
export function decideWorkloadReport(report: WorkloadReport, scope: DecisionScope): WorkloadReportResult {
  const { working, context } = scope;
  const { name, id, epoch, need, message = need } = report;
  const port = working.port(name);
  if (!port) return { applied: false, reason: "not_found" };
  const isSame = port.id === id && port.epoch === epoch && !port.binding && !port.inactive;
  if (!isSame || !followsWorkload(port)) return { applied: false, reason: "stale" };
  if (need === (port.unneeded ?? "needed")) return toResult(port);
  const changed: PortRecord = { ...port, unneeded: undefined, expiresAt: undefined, updatedAt: context.now };
  if (need !== "needed") {
    const time = retentionTimeOf(port, working.catalog.network(port.networkId), context.retention, need);
    if (report.mayEnd === false && endsSoon(time)) return { applied: false, reason: "ends" };
    if (time === "Delete") {
      removePort(port, scope, message);
      return { applied: true, deleted: true };
    }
    changed.unneeded = need;
    if (time !== "Retain") changed.expiresAt = context.now + time * 1000;
  }
  working.putPort(changed);
  const until = changed.expiresAt === undefined ? "" : `, kept until ${toTimestamp(changed.expiresAt)}`;
  emitPortEvent("port.retained", changed, scope, { message: `${message}${until}` });
  return toResult(changed);
}

/** Less time than it takes a person to notice a fault. */
const endsSoon = (time: RetentionTime): boolean => time === "Delete" || (time !== "Retain" && time < 3600);

function toResult({ expiresAt }: PortRecord): WorkloadReportResult {
  return { applied: true, deleted: false, ...(expiresAt !== undefined && { expiresAt: toTimestamp(expiresAt) }) };
}
