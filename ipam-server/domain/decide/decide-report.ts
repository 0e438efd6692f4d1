import type { Report, ReportResult } from "../../contract/index.ts";
import type { DecisionContext } from "./allocate.ts";
import { emitPortEvent } from "./port-event.ts";
import type { WorkingState } from "./working-state.ts";

/** A plane's state, fenced by the epoch (§ the rules that keep an address safe, 4). */
export function decideReport(
  { name, epoch, plane, state, message }: Report,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ReportResult {
  const port = working.port(name);
  if (!port) return { applied: false, reason: "not_found" };
  if (!port.binding || port.epoch !== epoch) return { applied: false, reason: "stale" };
  if (port[plane] === state) return { applied: true };
  const reported = { ...port, [plane]: state, updatedAt: context.now };
  working.putPort(reported);
  emitPortEvent(working, "port.state", reported, caller, message === undefined ? {} : { message });
  return { applied: true };
}
