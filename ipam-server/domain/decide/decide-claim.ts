import { type Claim, type ClaimResult, IpamError, type NameFrom } from "../../contract/index.ts";
import { type PortRecord, sameSandbox, toAttachment, toTimestamp } from "../model/port-record.ts";
import { isReserved, mayClaim } from "../model/reservation.ts";
import type { Slot } from "../model/slots.ts";
import { addressTexts, choosePlacement, type DecisionContext, type Placement } from "./allocate.ts";
import { assertLeasable, assertLeaseName, isLease, prolong, takeLease } from "./decide-lease.ts";
import { findMismatch } from "./mismatch.ts";
import { emitPortEvent } from "./port-event.ts";
import type { WorkingState } from "./working-state.ts";

/**
 * "The port of this name, bound to me" (§ the rules that keep an address safe, 3).
 *
 *     no port ------------- create, bind          bound to me --------- the same answer, the same epoch
 *     bound to another ---- refuse, or move       unbound ------------- bind
 */
export function decideClaim(
  claim: Claim,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ClaimResult {
  const { name } = claim;
  if (name === undefined) {
    throw new IpamError("invalid_request", "name is missing; give it, or slotOf for the IPAM to pick one", {
      field: "name",
    });
  }
  assertLeaseName(name, claim);
  const ownerCreatedAt = parseOwnerTime(claim);
  const { leasedPort } = claim;
  if (leasedPort !== undefined) {
    return takeLease({ ...claim, name, leasedPort }, ownerCreatedAt, caller, working, context);
  }
  const port = working.port(name);
  if (!port) return createBound(name, undefined, claim, ownerCreatedAt, caller, working, context);
  return takePort(port, claim, ownerCreatedAt, caller, working, context);
}

/** Binds a port that exists, or says why not. */
export function takePort(
  port: PortRecord,
  claim: Claim,
  ownerCreatedAt: number,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ClaimResult {
  assertMayClaim(port, claim);
  if (isBoundTo(port, claim)) return repeat(port, claim, working, context);
  assertMayTake(port, claim, ownerCreatedAt);

  const mismatch = findMismatch(port, claim, working);
  if (!mismatch) return bind(port, claim, ownerCreatedAt, caller, working, context, port.binding === undefined);
  if (claim.onMismatch !== "reallocate" || isReserved(port)) throw mismatch;
  const placement = choosePlacement(claim, port, working, context);
  const moved = reallocate(port, placement, caller, working, context);
  return bind(moved, claim, ownerCreatedAt, caller, working, context, placement.previousBindingReleased);
}

export function parseOwnerTime({ owner }: Claim): number {
  const time = Date.parse(owner.createdAt);
  if (Number.isNaN(time)) {
    throw new IpamError(
      "invalid_request",
      `owner.createdAt is ${JSON.stringify(owner.createdAt)}; expected a time such as 2026-11-20T08:00:00.000Z`,
      { field: "owner.createdAt" },
    );
  }
  return time;
}

/** A new port, bound. */
export function createBound(
  name: string,
  slot: Slot | undefined,
  claim: Claim,
  ownerCreatedAt: number,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ClaimResult {
  if (claim.nameFrom === "reserved") {
    throw new IpamError(
      "not_found",
      `port ${name} is not reserved; reserve it first: mooringctl reserve ${name} --network-selector "${claim.networkSelector}"`,
      { field: "name" },
    );
  }
  const placement = choosePlacement(claim, { name, key: working.peekPortKey() }, working, context);
  if (claim.owner.kind === "lease") assertLeasable(placement.network, working);
  const port = createPort(name, placement, caller, working, context, {
    labels: claim.labels ?? {},
    retention: claim.retention ?? { policy: "ephemeral" },
    cluster: claim.cluster,
    namespace: claim.namespace,
    workload: claim.workload,
    slot,
  });
  return bind(port, claim, ownerCreatedAt, caller, working, context, placement.previousBindingReleased);
}

/** A new unbound port that holds its addresses. */
export function createPort(
  name: string,
  placement: Placement,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
  told: Pick<PortRecord, "labels" | "retention" | "cluster" | "namespace" | "workload"> &
    Partial<Pick<PortRecord, "reservation" | "slot">>,
): PortRecord {
  const port: PortRecord = {
    key: working.newPortKey(),
    id: context.newId(),
    name,
    networkId: placement.network.id,
    mac: placement.mac,
    fixedIps: placement.ips,
    owner: undefined,
    binding: undefined,
    nameFrom: undefined,
    reservation: undefined,
    slot: undefined,
    ...told,
    epoch: 0,
    underlay: "DOWN",
    overlay: "DOWN",
    previousBindingReleased: placement.previousBindingReleased,
    createdAt: context.now,
    updatedAt: context.now,
    releasedAt: undefined,
    expiresAt: undefined,
  };
  for (const ip of port.fixedIps) working.hold(ip, port.key);
  working.putPort(port);
  emitPortEvent(working, "port.created", port, caller);
  return port;
}

function assertMayClaim(port: PortRecord, claim: Claim): void {
  if (port.reservation) {
    if (mayClaim(port.reservation, claim.cluster, claim.namespace)) return;
    const allowed = port.reservation.allowedNamespaces.join(", ") || "nobody";
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

/** Same host and owner; the same sandbox, or one of the two does not know the sandbox yet. */
function isBoundTo({ binding, owner }: PortRecord, claim: Claim): boolean {
  if (!binding || binding.host !== claim.host || owner?.uid !== claim.owner.uid) return false;
  return !claim.sandbox || !binding.sandbox || sameSandbox(binding.sandbox, claim.sandbox);
}

function repeat(port: PortRecord, claim: Claim, working: WorkingState, context: DecisionContext): ClaimResult {
  if (isLease(port)) return prolong(port, claim, working, context);
  if (!port.binding || port.binding.sandbox || !claim.sandbox) return toAttachment(port, working.catalog);
  const filled: PortRecord = {
    ...port,
    binding: { ...port.binding, sandbox: claim.sandbox },
    updatedAt: context.now,
  };
  working.putPort(filled);
  return toAttachment(filled, working.catalog);
}

function assertMayTake(port: PortRecord, claim: Claim, ownerCreatedAt: number): void {
  const { owner, binding } = port;
  if (!owner || owner.uid === claim.owner.uid) return;
  if (port.slot) {
    // A slot that was picked is unbound, and its application's pods have no order among them.
    if (claim.slotOf) return;
    throw new IpamError(
      "port_in_use",
      `port ${port.name} is slot ${port.slot.number} of an application; only its own pods may claim it (by slotOf), so choose another name`,
      { ports: [port.name] },
    );
  }
  if (binding && isOtherKind(port, claim)) {
    throw new IpamError(
      "port_in_use",
      `port ${port.name} is bound on host ${binding.host} to ${port.workload?.kind} ${port.workload?.name}, not to a ${claim.workload?.kind}; one of the two needs another name, or it can be claimed when that binding is released`,
      { ports: [port.name] },
    );
  }
  if (binding && port.nameFrom !== undefined && port.nameFrom !== nameFromOf(claim)) {
    throw new IpamError(
      "port_in_use",
      `port ${port.name} is bound on host ${binding.host} by ${NAME_SOURCES[port.nameFrom]}, and this claim comes by ${NAME_SOURCES[nameFromOf(claim)]}; one of the two needs another name`,
      { ports: [port.name] },
    );
  }
  if (nameFromOf(claim) === "pod") {
    if (ownerCreatedAt >= owner.createdAt) return;
    throw new IpamError(
      "stale_owner",
      `port ${port.name} belongs to ${owner.kind} ${owner.uid}, created at ${toTimestamp(owner.createdAt)}, later than ${claim.owner.uid} at ${toTimestamp(ownerCreatedAt)}; an older owner never gets it back`,
    );
  }
  if (!binding) return;
  throw new IpamError(
    "port_in_use",
    `port ${port.name} is bound to ${owner.kind} ${owner.uid} on host ${binding.host}; it can be claimed when that binding is released`,
    { ports: [port.name] },
  );
}

/** Kubernetes lets one pod of a name live at a time, but a machine may be called as a pod is. */
const isOtherKind = ({ workload }: PortRecord, claim: Claim): boolean =>
  workload !== undefined && claim.workload !== undefined && workload.kind !== claim.workload.kind;

const nameFromOf = ({ nameFrom = "pod" }: Claim): NameFrom => nameFrom;

/** Pods have an order among themselves, and so have those of one name from labels: between them there is none. */
const NAME_SOURCES = {
  pod: "a pod of this name",
  labels: "a name made of labels",
  reserved: "a reserved name",
} as const satisfies Record<NameFrom, string>;

/** A new binding: the epoch grows. `fenced`: the last holder of the addresses is known to be gone. */
function bind(
  port: PortRecord,
  claim: Claim,
  ownerCreatedAt: number,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
  previousBindingReleased: boolean,
): ClaimResult {
  const { host, sandbox, owner } = claim;
  const fromHost = port.binding?.host;
  const reserved = isReserved(port);
  const isForLater = owner.kind === "lease";
  const bound: PortRecord = {
    ...port,
    // A reserved port keeps what the person who reserved it said.
    labels: reserved ? port.labels : (claim.labels ?? port.labels),
    retention: reserved ? port.retention : (claim.retention ?? port.retention),
    owner: { kind: owner.kind, uid: owner.uid, createdAt: ownerCreatedAt },
    binding: { host, sandbox, boundAt: context.now },
    nameFrom: nameFromOf(claim),
    cluster: claim.cluster ?? port.cluster,
    namespace: claim.namespace ?? port.namespace,
    workload: claim.workload ?? port.workload,
    epoch: Math.max(port.epoch, context.epochFloor ?? 0) + 1,
    underlay: isForLater ? "DOWN" : "BUILD",
    overlay: context.fabricManaged ? "BUILD" : "ACTIVE",
    previousBindingReleased,
    updatedAt: context.now,
    releasedAt: undefined,
    expiresAt: isForLater ? context.now + context.leaseMs : undefined,
  };
  working.putPort(bound);
  if (fromHost === undefined) emitPortEvent(working, "port.bound", bound, caller);
  else emitPortEvent(working, "port.moved", bound, caller, { fromHost });
  return toAttachment(bound, working.catalog);
}

function reallocate(
  port: PortRecord,
  { network, ips, mac }: Placement,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): PortRecord {
  const moved: PortRecord = { ...port, networkId: network.id, fixedIps: ips, mac, updatedAt: context.now };
  const kept = (ip: { subnetId: number; offset: bigint }, among: PortRecord["fixedIps"]) =>
    among.some(other => other.subnetId === ip.subnetId && other.offset === ip.offset);
  for (const ip of port.fixedIps) if (!kept(ip, ips)) working.free(ip, port, context.now);
  for (const ip of ips) if (!kept(ip, port.fixedIps)) working.hold(ip, port.key);
  working.putPort(moved);
  const before = addressTexts(port.fixedIps, working);
  emitPortEvent(working, "port.reallocated", moved, caller, {
    message: `was ${before.join(", ")} on network ${working.catalog.network(port.networkId).name}`,
    former: { mac: port.mac, addresses: before },
  });
  return moved;
}
