import { IpamError } from "../../contract/index.ts";
import type { Item } from "../model/mutation.ts";
import { describeWait, type RecoveryState } from "../recovery/recovery-state.ts";
import type { DecisionScope } from "./decision-scope.ts";

const RETRY_AFTER_SECONDS = 5;

/**
 * During recovery throws `unavailable` for what could get an address that a pod has plugged and the IPAM does not know. What
 * is plugged, what is bound already and what only ends something is decided as ever.
 */
export function assertNotRecovering(item: Item, { working, context: { recovery } }: DecisionScope): void {
  if (recovery === undefined || !mayAssign(item)) return;
  const { claim, name } =
    item.kind === "claim" ? { claim: item.claim, name: item.claim.name } : { ...item, claim: undefined };
  const port = name === undefined ? undefined : working.port(name);
  if (
    claim === undefined ? port !== undefined : port?.binding?.host === claim.host && port.owner?.uid === claim.owner.uid
  )
    return;
  assertMayAssign(recovery);
}

/** Throws `unavailable` during recovery. */
export function assertMayAssign(recovery: RecoveryState | undefined): void {
  if (recovery === undefined) return;
  throw new IpamError(
    "unavailable",
    `the IPAM was restored from a backup and assigns nothing new ${describeWait(recovery)} what they have plugged; mooringctl recovery shows them and can end it`,
    { retryAfterSeconds: RETRY_AFTER_SECONDS },
  );
}

type Assigning = Extract<Item, { kind: "claim" | "reserve" }>;

const mayAssign = (item: Item): item is Assigning =>
  item.kind === "reserve" || (item.kind === "claim" && !item.claim.plugged && item.claim.leasedPort === undefined);
