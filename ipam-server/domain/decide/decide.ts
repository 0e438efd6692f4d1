import { IpamError } from "../../contract/index.ts";
import type { Snapshot, Writes } from "../model/snapshot.ts";
import type { Outcome } from "../store.ts";
import type { DecisionContext } from "./allocate.ts";
import { decideClaim } from "./decide-claim.ts";
import { decideDelete, decideExpire } from "./decide-delete.ts";
import { decideRelease } from "./decide-release.ts";
import { decideReport } from "./decide-report.ts";
import { decideReserve } from "./decide-reserve.ts";
import { decideSlotClaim } from "./decide-slot-claim.ts";
import type { Item } from "./needs.ts";
import { MissingPools, WorkingState } from "./working-state.ts";

export type Decision = { outcomes: Outcome[]; writes: Writes } | { missingNetworkId: number };

/**
 * Decides a whole batch over a snapshot, in order, each item seeing what the earlier ones did. Pure: the same for
 * every engine. An item that is refused answers with its problem and changes nothing; any other error is a fault in
 * the program and fails the batch. `missingNetworkId`: load that network's pools too and decide again.
 */
export function decide(batch: readonly Item[], snapshot: Snapshot, context: DecisionContext): Decision {
  const working = new WorkingState(snapshot);
  const outcomes: Outcome[] = [];
  for (const item of batch) {
    try {
      outcomes.push(decideItem(item, working, context));
    } catch (error) {
      if (error instanceof MissingPools) return { missingNetworkId: error.networkId };
      if (!(error instanceof IpamError)) throw error;
      outcomes.push({ problem: error.toProblem() });
    }
  }
  return { outcomes, writes: working.toWrites() };
}

function decideItem(item: Item, working: WorkingState, context: DecisionContext): Outcome {
  switch (item.kind) {
    case "claim":
      return item.claim.slotOf
        ? decideSlotClaim(item.claim, item.claim.slotOf, item.caller, working, context)
        : decideClaim(item.claim, item.caller, working, context);
    case "release":
      return decideRelease(item.release, item.caller, working, context);
    case "report":
      return decideReport(item.report, item.caller, working, context);
    case "reserve":
      return decideReserve(item.name, item.reservation, item.caller, working, context);
    case "deletePort":
      return decideDelete(item.name, item.fence, item.caller, working, context);
    case "expire":
      return decideExpire(item.name, item.caller, working, context);
  }
}
