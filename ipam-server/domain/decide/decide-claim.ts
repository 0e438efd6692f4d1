import { type Claim, type ClaimResult, IpamError } from "../../contract/index.ts";
import { type ParsedClaim, parseClaim } from "../model/mutation.ts";
import { type PortRecord, sameSandbox, toAttachment } from "../model/port-record.ts";
import { isReserved, mayClaim } from "../model/reservation.ts";
import { assertLeasable, assertLeaseName, assignLease, isLease, renewLease } from "./decide-lease.ts";
import type { DecisionScope } from "./decision-scope.ts";
import {
  assertMigration,
  bindInactive,
  dropInactive,
  isBoundElsewhere,
  isInactiveOf,
  nextEpoch,
  outlivesClaim,
  repeatInactive,
} from "./inactive/inactive-binding.ts";
import { assertMayRebind } from "./may-rebind.ts";
import { choosePlacement, type Placement } from "./placement/choose-placement.ts";
import { findAddedFamilies, findMismatch } from "./placement/mismatch.ts";
import { reallocate } from "./placement/reallocate.ts";
import { emitPortEvent } from "./port-event.ts";

/**
 * "The port of this name, bound to me":
 *
 *     no port ------------- create, bind          bound to me --------- the same answer, the same epoch
 *     bound to another ---- reject, or move       unbound ------------- bind
 *
 * A migration's target gets an INACTIVE binding of a port that is bound to another; see `bindInactive`.
 */
export function decideClaim(unparsed: Claim, scope: DecisionScope): ClaimResult {
  const { name, leasedPort } = unparsed;
  if (name === undefined) {
    throw new IpamError("invalid_request", "name is missing; give it, or slotOf for the IPAM to pick one", {
      field: "name",
    });
  }
  assertLeaseName(name, unparsed);
  assertMigration(unparsed);
  const port = scope.working.port(name);
  const claim = parseClaim(unparsed, scope.context.now, port);
  if (leasedPort !== undefined) return assignLease({ ...claim, name, leasedPort }, scope);
  return port ? bindPort(port, claim, scope) : createBound({ name, slot: undefined }, claim, scope);
}

/** Binds an existing port, or throws the IpamError that explains why the claim may not have it. */
export function bindPort(port: PortRecord, claim: ParsedClaim, scope: DecisionScope): ClaimResult {
  assertMayClaim(port, claim);
  if (isBoundTo(port, claim)) return repeat(port, claim, scope);
  if (claim.migration && isInactiveOf(port, claim)) return repeatInactive(port, port.inactive, claim, scope);
  assertMayRebind(port, claim);

  const { working } = scope;
  const mayMove = claim.onMismatch === "reallocate" && !isReserved(port) && !port.isProtected;
  const mismatch = findMismatch(port, claim, working);
  if (claim.migration && isBoundElsewhere(port, claim)) {
    if (mismatch) throw mismatch;
    return bindInactive(port, claim, claim.migration, scope);
  }
  if (mismatch && !mayMove) throw mismatch;
  const added = findAddedFamilies(port, claim, working);
  if (!mismatch && added.length === 0) {
    const previousBindingReleased = port.binding === undefined && port.previousBindingReleased;
    return bind({ ...port, previousBindingReleased }, claim, scope);
  }
  if (isReserved(port)) {
    const held = working.addressTexts(port.fixedIps).join(" and ");
    throw new IpamError(
      "conflict",
      `port ${port.name} is reserved with ${held}, but ${added.join(" and ")} is wanted too; \`mooringctl reserve\` adds it`,
      { field: "families", ports: [port.name] },
    );
  }
  return bind(reallocate(port, claim, { mayMove }, scope), claim, scope);
}

/** Creates a port and binds it. */
export function createBound(
  { name, slot }: Pick<PortRecord, "name" | "slot">,
  claim: ParsedClaim,
  scope: DecisionScope,
): ClaimResult {
  if (claim.nameFrom === "reserved" && !claim.plugged) {
    throw new IpamError(
      "not_found",
      `port ${name} is not reserved; reserve it first: mooringctl reserve ${name} --network-selector "${claim.networkSelector}"`,
      { field: "name" },
    );
  }
  const { working } = scope;
  const placement = choosePlacement(claim, { name, key: working.peekPortKey() }, scope);
  if (claim.owner.kind === "lease") assertLeasable(placement.network, working);
  const port = createPort(name, placement, scope, {
    labels: claim.labels ?? {},
    retention: claim.retention ?? { policy: "ephemeral" },
    cluster: claim.cluster,
    namespace: claim.namespace,
    workload: claim.workload,
    slot,
  });
  return bind(port, claim, scope);
}

/** Creates an unbound port that holds its addresses. */
export function createPort(
  name: string,
  placement: Placement,
  scope: DecisionScope,
  given: Pick<PortRecord, "labels" | "retention" | "cluster" | "namespace" | "workload"> &
    Partial<Pick<PortRecord, "reservation" | "slot">>,
): PortRecord {
  const { working, context } = scope;
  const port: PortRecord = {
    key: working.newPortKey(),
    id: context.newId(),
    name,
    networkId: placement.network.id,
    mac: placement.mac,
    fixedIps: placement.ips,
    owner: undefined,
    binding: undefined,
    inactive: undefined,
    nameFrom: undefined,
    reservation: undefined,
    slot: undefined,
    ...given,
    epoch: 0,
    lastEpoch: 0,
    underlay: "DOWN",
    overlay: "DOWN",
    previousBindingReleased: placement.previousBindingReleased,
    createdAt: context.now,
    updatedAt: context.now,
    releasedAt: undefined,
    isProtected: false,
    unneeded: undefined,
    expiresAt: undefined,
  };
  for (const ip of port.fixedIps) working.hold(ip, port.key);
  working.putPort(port);
  emitPortEvent("port.created", port, scope);
  return port;
}

function assertMayClaim(port: PortRecord, claim: ParsedClaim): void {
  if (port.reservation) {
    if (mayClaim(port.reservation, claim.cluster, claim.namespace)) return;
    const allowed = port.reservation.allowedNamespaces.join(", ") || "no namespace";
    throw new IpamError(
      "forbidden",
      `port ${port.name} is reserved for ${allowed}, not for ${claim.cluster ?? "?"}/${claim.namespace ?? "?"}; \`mooringctl reserve\` changes that`,
    );
  }
  if (claim.nameFrom !== "reserved") return;
  throw new IpamError(
    "forbidden",
    `port ${port.name} exists but is not reserved, so it cannot be claimed by a chosen name; reserve it with \`mooringctl reserve\` or choose another name`,
  );
}

/** True for the same host and owner, and the same sandbox unless one of the two has none yet. */
function isBoundTo({ binding, owner }: PortRecord, claim: ParsedClaim): boolean {
  if (!binding || binding.host !== claim.host || owner?.uid !== claim.owner.uid) return false;
  return !claim.sandbox || !binding.sandbox || sameSandbox(binding.sandbox, claim.sandbox);
}

/** The answer to a claim that is bound already, with the sandbox added if the binding had none. */
function repeat(port: PortRecord, claim: ParsedClaim, scope: DecisionScope): ClaimResult {
  const { working, context } = scope;
  if (isLease(port)) return renewLease(port, claim, scope);
  if (!port.binding || port.binding.sandbox || !claim.sandbox) return toAttachment(port, working.catalog);
  const filled: PortRecord = {
    ...port,
    binding: { ...port.binding, sandbox: claim.sandbox, attemptedAt: claim.attemptedAt },
    updatedAt: context.now,
  };
  working.putPort(filled);
  return toAttachment(filled, working.catalog);
}

/** A claim may change how long a kept port is kept, but never ends that it is: only its owner's end or a person does. */
function nextRetention({ retention: kept }: PortRecord, { retention = kept }: ParsedClaim): PortRecord["retention"] {
  return kept.policy === "sticky" && retention.policy === "ephemeral" ? kept : retention;
}

/** Binds the port with the next epoch. */
function bind(before: PortRecord, claim: ParsedClaim, scope: DecisionScope): ClaimResult {
  const { working, context } = scope;
  const { host, sandbox, attemptedAt, owner } = claim;
  const port = outlivesClaim(before, claim) ? before : dropInactive(before, scope);
  const epoch = nextEpoch(port, context);
  const fromHost = port.binding?.host;
  const reserved = isReserved(port);
  const isLeased = owner.kind === "lease";
  const bound: PortRecord = {
    ...port,
    // A reserved port keeps the labels and retention of its reservation.
    labels: reserved ? port.labels : (claim.labels ?? port.labels),
    retention: reserved ? port.retention : nextRetention(port, claim),
    owner,
    binding: { host, sandbox, attemptedAt, boundAt: context.now },
    nameFrom: claim.nameFrom ?? "pod",
    cluster: claim.cluster ?? port.cluster,
    namespace: claim.namespace ?? port.namespace,
    workload: claim.workload ?? port.workload,
    epoch,
    lastEpoch: epoch,
    underlay: isLeased ? "DOWN" : "BUILD",
    overlay: context.fabricManaged ? "BUILD" : "ACTIVE",
    updatedAt: context.now,
    releasedAt: undefined,
    unneeded: undefined,
    expiresAt: isLeased ? context.now + context.leaseMs : undefined,
  };
  working.putPort(bound);
  if (fromHost === undefined) emitPortEvent("port.bound", bound, scope);
  else emitPortEvent("port.moved", bound, scope, { fromHost });
  return toAttachment(bound, working.catalog);
}
