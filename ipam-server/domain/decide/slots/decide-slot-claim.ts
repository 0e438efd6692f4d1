import { type Claim, type ClaimResult, IpamError, LEASE_PREFIX, type SlotOf } from "../../../contract/index.ts";
import { type ParsedClaim, parseClaim } from "../../model/mutation.ts";
import type { PortRecord } from "../../model/port-record.ts";
import { mayClaim } from "../../model/reservation.ts";
import { findSlotNetworks, hasRoomForSlot, slotName, slotSeries } from "../../model/slots.ts";
import { bindPort, createBound } from "../decide-claim.ts";
import type { DecisionScope } from "../decision-scope.ts";
import { assertMigration } from "../inactive/inactive-binding.ts";
import type { WorkingState } from "../working-state.ts";

/**
 * "One of this application's addresses, bound to me": the owner's own slot, else the lowest that is free for it.
 *
 *     bound to this owner -> unbound, its last owner this one -> the lowest of:  a number without a port
 *                                                                                unbound, on a network that fits
 *
 * A bound slot is never reassigned, so no claim waits for another pod, and siblings cannot displace each other.
 */
export function decideSlotClaim(unparsed: Claim, slotOf: SlotOf, scope: DecisionScope): ClaimResult {
  assertSlotClaim(unparsed, slotOf);
  assertMigration(unparsed);
  const claim = parseClaim(unparsed, scope.context.now);
  const series = slotSeries(slotOf);
  const candidates = findCandidates(claim, series, scope.working);
  const mine = candidates.bound ?? candidates.last;
  if (mine) return bindPort(mine, claim, scope);

  const { fitting, unfit } = candidates;
  const vacant = scope.working.vacantSlot(slotOf);
  if (fitting && numberOf(fitting) < vacant) return bindPort(fitting, claim, scope);
  // With onMismatch reallocate the application's set of ports moves instead of growing.
  if (!fitting && unfit && claim.onMismatch === "reallocate") return bindPort(unfit, claim, scope);
  try {
    return createBound({ name: slotName(slotOf, vacant), slot: { of: series, number: vacant } }, claim, scope);
  } catch (error) {
    // A full network must not keep a pod from an address that its application holds already.
    if (fitting && error instanceof IpamError && error.code === "no_address_available") {
      return bindPort(fitting, claim, scope);
    }
    throw error;
  }
}

function assertSlotClaim({ name, nameFrom, retention, leasedPort, owner }: Claim, slotOf: SlotOf): void {
  const fail = (field: string, message: string): never => {
    throw new IpamError("invalid_request", message, { field });
  };
  if (name !== undefined) {
    fail("slotOf", `name (${name}) and slotOf are both given; give one: slotOf asks the IPAM to pick the name`);
  }
  if (leasedPort !== undefined)
    fail("leasedPort", "leasedPort assigns an address to a name, and slotOf has none; leave one out");
  if (owner.kind === "lease") fail("owner.kind", "a lease is claimed by its name, not by slotOf");
  if (slotOf.application.startsWith(LEASE_PREFIX)) {
    fail(
      "slotOf.application",
      `the application is ${slotOf.application}, but ${LEASE_PREFIX} begins the names of leases`,
    );
  }
  if (!hasRoomForSlot(slotOf)) {
    fail(
      "slotOf.application",
      `the application's name ${slotOf.application} leaves no room for a slot in a port's name`,
    );
  }
  if (nameFrom !== undefined && nameFrom !== "pod") {
    fail("nameFrom", `nameFrom is ${nameFrom}, but slotOf gives no name; leave nameFrom out`);
  }
  if (retention?.policy !== "sticky") {
    fail(
      "retention",
      `slotOf asks for an address that is kept, but retention is ${retention?.policy ?? "ephemeral"}; expected {"policy": "sticky"}`,
    );
  }
}

interface Candidates {
  /** Bound to the claim's owner. */
  bound: PortRecord | undefined;
  /** The lowest unbound that fits and was the owner's last. */
  last: PortRecord | undefined;
  /** The lowest unbound that fits. */
  fitting: PortRecord | undefined;
  /** The lowest unbound on another network. */
  unfit: PortRecord | undefined;
}

const numberOf = (port: PortRecord): number => port.slot?.number ?? Number.POSITIVE_INFINITY;
const lower = (a: PortRecord | undefined, b: PortRecord): PortRecord => (a && numberOf(a) < numberOf(b) ? a : b);

function findCandidates(claim: ParsedClaim, series: string, working: WorkingState): Candidates {
  const found: Candidates = { bound: undefined, last: undefined, fitting: undefined, unfit: undefined };
  const networks = new Set(findSlotNetworks(claim, working.catalog));
  for (const port of working.slots(series)) {
    const isOwn = port.owner?.uid === claim.owner.uid;
    if (port.binding) {
      if (isOwn) found.bound = lower(found.bound, port);
    } else if (port.reservation && !mayClaim(port.reservation, claim.cluster, claim.namespace)) {
      // Reserved for namespaces other than the application's.
    } else if (networks.has(port.networkId)) {
      if (isOwn) found.last = lower(found.last, port);
      found.fitting = lower(found.fitting, port);
    } else {
      found.unfit = lower(found.unfit, port);
    }
  }
  return found;
}
