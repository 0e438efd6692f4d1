import type { RecoveryReport } from "../../contract/index.ts";
import type { NewEvent } from "../model/snapshot.ts";
import { describeWait, isOver, type RecoveryState, withReport } from "./recovery-state.ts";

/** `check`: a server opens the database, or time has passed. */
export type RecoveryChange = { kind: "check" } | { kind: "report"; report: RecoveryReport } | { kind: "end" };

export interface PlannedRecovery {
  /** Undefined: no recovery, or it has ended. */
  after: RecoveryState | undefined;
  /** False: there is nothing to store. */
  isChanged: boolean;
  events: NewEvent[];
}

/** Plans a step of the recovery after a restore. Pure. */
export function planRecoveryChange(
  before: RecoveryState | undefined,
  change: RecoveryChange,
  now: number,
  caller: string,
): PlannedRecovery {
  if (before === undefined) return { after: undefined, isChanged: false, events: [] };
  const isStart = before.since === 0;
  const started = isStart ? { ...before, since: now } : before;
  const reported = change.kind === "report" ? withReport(started, change.report) : started;
  const event = (type: NewEvent["type"], message: string): NewEvent => ({ type, caller, message });
  const events = isStart ? [event("recovery.started", `nothing new is assigned ${describeWait(reported)}`)] : [];
  if (change.kind !== "end" && !isOver(reported, now)) {
    return { after: reported, isChanged: isStart || change.kind === "report", events };
  }
  const missing = reported.waitingFor.map(({ host }) => host);
  const how = missing.length === 0 ? "every host has reported" : `without the reports of ${missing.join(", ")}`;
  return { after: undefined, isChanged: true, events: [...events, event("recovery.ended", how)] };
}
