import { IpamError } from "../../contract/index.ts";
import type { Item, Outcome } from "../model/mutation.ts";
import type { Snapshot, Writes } from "../model/snapshot.ts";
import { decideClaim } from "./decide-claim.ts";
import { decideClearConflict } from "./decide-conflict.ts";
import { decideDelete, decideExpire, decideProtect } from "./decide-delete.ts";
import { decidePluggedClaim } from "./decide-plugged-claim.ts";
import { decidePurge, decideRelease } from "./decide-release.ts";
import { decideReport } from "./decide-report.ts";
import { decideReserve } from "./decide-reserve.ts";
import { decideWorkloadReport } from "./decide-workload-report.ts";
import type { DecisionContext, DecisionScope } from "./decision-scope.ts";
import { decideActivate } from "./inactive/decide-activate.ts";
import { assertNotRecovering } from "./recovery-gate.ts";
import { decideSlotClaim } from "./slots/decide-slot-claim.ts";
import { MissingPools, WorkingState } from "./working-state.ts";

export type Decision = { outcomes: Outcome[]; writes: Writes } | { missingNetworkId: number };

/**
 * Decides a batch over a snapshot, in order; each item sees what earlier ones changed. Pure. An item that fails with
 * IpamError yields its problem and changes nothing; any other error is a fault in the program and fails the batch.
 * `missingNetworkId`: load that network's pools too and decide again.
 */
export function decide(batch: readonly Item[], snapshot: Snapshot, context: DecisionContext): Decision {
  const working = new WorkingState(snapshot);
  const outcomes: Outcome[] = [];
  for (const item of batch) {
    try {
      outcomes.push(decideItem(item, { working, context, caller: item.caller }));
    } catch (error) {
      if (error instanceof MissingPools) return { missingNetworkId: error.networkId };
      if (!(error instanceof IpamError)) throw error;
      outcomes.push({ problem: error.toProblem() });
    }
  }
  return { outcomes, writes: working.toWrites() };
}

function decideItem(item: Item, scope: DecisionScope): Outcome {
  assertNotRecovering(item, scope);
  switch (item.kind) {
    case "claim":
      if (item.claim.plugged) return decidePluggedClaim(item.claim, scope);
      return item.claim.slotOf ? decideSlotClaim(item.claim, item.claim.slotOf, scope) : decideClaim(item.claim, scope);
    case "activate":
      return decideActivate(item.activation, scope);
    case "release":
      return decideRelease(item.release, scope);
    case "report":
      return decideReport(item.report, scope);
    case "reserve":
      return decideReserve(item.name, item.reservation, scope);
    case "protect":
      return decideProtect(item.name, item.protected, scope);
    case "deletePort":
      return decideDelete(item.name, item.precondition, scope);
    case "workloadReport":
      return decideWorkloadReport(item.report, scope);
    case "purgePort":
      return decidePurge(item.name, item.cluster, scope);
    case "clearConflict":
      return decideClearConflict(item, scope);
    case "expire":
      return decideExpire(item.name, scope);
  }
}
