import type { Report, ReportResult } from "../../contract/index.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { emitPortEvent } from "./port-event.ts";

/** Sets a plane's state. A report of an earlier binding, seen by its epoch, changes nothing. */
export function decideReport({ name, epoch, plane, state, message }: Report, scope: DecisionScope): ReportResult {
  const port = scope.working.port(name);
  if (!port) return { applied: false, reason: "not_found" };
  if (!port.binding || port.epoch !== epoch) return { applied: false, reason: "stale" };
  if (port[plane] === state) return { applied: true };
  const reported = { ...port, [plane]: state, updatedAt: scope.context.now };
  scope.working.putPort(reported);
  emitPortEvent("port.state", reported, scope, message === undefined ? {} : { message });
  return { applied: true };
}
