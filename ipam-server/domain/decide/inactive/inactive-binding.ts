import { type Claim, type ClaimResult, IpamError, type Migration } from "../../../contract/index.ts";
import type { ParsedClaim } from "../../model/mutation.ts";
import {
  type InactiveRecord,
  type PortRecord,
  sameSandbox,
  toAttachment,
  toTimestamp,
} from "../../model/port-record.ts";
import type { DecisionContext, DecisionScope } from "../decision-scope.ts";
import { assertNewestSandbox } from "../may-rebind.ts";
import { emitPortEvent } from "../port-event.ts";

/**
 * Two bindings of one port, as Neutron has them while a machine migrates: the ACTIVE one where it runs, and at most one
 * INACTIVE one where it is to run, plugged without traffic.
 *
 *     claim with `migration`   bound elsewhere: add the INACTIVE one, or replace it      unbound: bind, ACTIVE
 *     activation               the INACTIVE one becomes ACTIVE, the ACTIVE one ends
 *     release                  by its own sandbox; the other binding and the addresses stay
 *     any other claim          by another owner, or on the target's host: the INACTIVE one ends
 */
export function assertMigration({ migration, owner, slotOf, leasedPort }: Claim): void {
  if (!migration) return;
  const other = slotOf
    ? "slotOf"
    : leasedPort !== undefined
      ? "leasedPort"
      : owner.kind === "lease" && "a lease's owner";
  if (!other) return;
  throw new IpamError("invalid_request", `migration is for a port that exists by its name; it is given with ${other}`, {
    field: "migration",
  });
}

/** Greater than the epoch of every binding that the port has had. */
export const nextEpoch = ({ lastEpoch }: PortRecord, { minimumEpoch = 0 }: DecisionContext): number =>
  Math.max(lastEpoch, minimumEpoch) + 1;

/** True for a binding that the claim's owner does not have on the claim's host already. */
export const isBoundElsewhere = ({ binding, owner }: PortRecord, claim: ParsedClaim): boolean =>
  binding !== undefined && !(binding.host === claim.host && owner?.uid === claim.owner.uid);

export function isInactiveOf(
  port: PortRecord,
  { host, owner, sandbox }: ParsedClaim,
): port is PortRecord & { inactive: InactiveRecord } {
  const { inactive } = port;
  if (inactive?.host !== host || inactive.owner.uid !== owner.uid) return false;
  return !sandbox || !inactive.sandbox || sameSandbox(inactive.sandbox, sandbox);
}

/** Adds or replaces the INACTIVE binding. The caller has checked that the claim may have the port. */
export function bindInactive(
  port: PortRecord,
  claim: ParsedClaim,
  migration: Migration,
  scope: DecisionScope,
): ClaimResult {
  const { working, context } = scope;
  const { host, sandbox, attemptedAt, owner } = claim;
  const { binding, inactive } = port;
  if (binding?.host === host) {
    throw new IpamError(
      "conflict",
      `port ${port.name} is bound on host ${host} already; the target of a migration is on another host`,
      { field: "host", ports: [port.name] },
    );
  }
  if ((claim.nameFrom ?? "pod") === "pod" && inactive && inactive.owner.createdAt > owner.createdAt) {
    throw new IpamError(
      "stale_owner",
      `port ${port.name} migrates to ${inactive.owner.kind} ${inactive.owner.uid}, created at ${toTimestamp(inactive.owner.createdAt)}, later than ${owner.uid} at ${toTimestamp(owner.createdAt)}`,
    );
  }
  if (inactive?.owner.uid === owner.uid) assertNewestSandbox(port.name, inactive, claim);
  const epoch = nextEpoch(port, context);
  const added: InactiveRecord = { host, sandbox, attemptedAt, owner, migration, epoch, boundAt: context.now };
  const bound: PortRecord = { ...dropInactive(port, scope), inactive: added, lastEpoch: epoch, updatedAt: context.now };
  working.putPort(bound);
  emitInactiveEvent("port.inactive-bound", bound, added, scope);
  return toInactiveAttachment(bound, scope);
}

/** The answer to a claim that has the INACTIVE binding already, with the sandbox added if it had none. */
export function repeatInactive(
  port: PortRecord,
  inactive: InactiveRecord,
  { sandbox, attemptedAt }: ParsedClaim,
  scope: DecisionScope,
): ClaimResult {
  if (inactive.sandbox || !sandbox) return toInactiveAttachment(port, scope);
  const filled: PortRecord = { ...port, inactive: { ...inactive, sandbox, attemptedAt }, updatedAt: scope.context.now };
  scope.working.putPort(filled);
  return toInactiveAttachment(filled, scope);
}

/** True if the INACTIVE binding stays when a plain claim binds the port: the machine that migrates got a new sandbox. */
export const outlivesClaim = ({ inactive, owner }: PortRecord, claim: ParsedClaim): boolean =>
  inactive !== undefined && owner?.uid === claim.owner.uid && inactive.host !== claim.host;

/** Ends the INACTIVE binding, if there is one. */
export function dropInactive(port: PortRecord, scope: DecisionScope): PortRecord {
  const { inactive } = port;
  if (!inactive) return port;
  const dropped: PortRecord = { ...port, inactive: undefined, updatedAt: scope.context.now };
  scope.working.putPort(dropped);
  emitInactiveEvent("port.inactive-released", dropped, inactive, scope);
  return dropped;
}

function emitInactiveEvent(
  type: "port.inactive-bound" | "port.inactive-released",
  port: PortRecord,
  inactive: InactiveRecord,
  scope: DecisionScope,
): void {
  const { owner, epoch, migration } = inactive;
  emitPortEvent(type, { ...port, binding: inactive, owner, epoch }, scope, { message: `migration ${migration.id}` });
}

const toInactiveAttachment = (port: PortRecord, { working }: DecisionScope): ClaimResult => ({
  ...toAttachment(port, working.catalog),
  inactive: true,
});
