import { IpamError, type NameFrom, type OwnerKind, type Workload } from "../../contract/index.ts";
import type { ParsedClaim } from "../model/mutation.ts";
import { type BindingRecord, type PortRecord, toTimestamp } from "../model/port-record.ts";

/**
 * Throws when the port belongs to an owner from whom the claim's owner may not get it. The same owner may, with a sandbox
 * that is not an earlier one than the bound (else `stale_owner`); another only if
 *
 *     its kind and its source of names are the port's, bound or not     else `port_in_use`
 *     Kubernetes orders the two: it is not the older one, bound or not   else `stale_owner`
 *     nothing orders the two: the port is not bound, or it migrates      else `port_in_use`
 */
export function assertMayRebind(port: PortRecord, claim: ParsedClaim): void {
  const { owner, binding } = port;
  if (!owner) return;
  if (owner.uid === claim.owner.uid) {
    if (binding) assertNewestSandbox(port.name, binding, claim);
    return;
  }
  if (port.slot) {
    // A picked slot is unbound, and its application's pods have no order among them.
    if (claim.slotOf) return;
    throw inUse(
      port,
      `is slot ${port.slot.number} of an application; only its own pods may claim it (by slotOf), so choose another name`,
    );
  }
  assertSameIdentity(port, owner, claim);
  if (isOrdered(claim)) {
    if (claim.owner.createdAt >= owner.createdAt) return;
    throw new IpamError(
      "stale_owner",
      `port ${port.name} belongs to ${owner.kind} ${owner.uid}, created at ${toTimestamp(owner.createdAt)}, later than ${claim.owner.uid} at ${toTimestamp(claim.owner.createdAt)}; an older owner never gets it back`,
    );
  }
  if (!binding || claim.migration) return;
  throw inUse(
    port,
    `is bound to ${owner.kind} ${owner.uid} on host ${binding.host}; it can be claimed when that binding is released`,
  );
}

/** No claim arrives so late. A greater difference comes from a host's clock that was set back. */
const LATEST_MS = 3_600_000;

/** Throws `stale_owner` when the host began to plug the bound sandbox after that of the claim. */
export function assertNewestSandbox(name: string, binding: BindingRecord, claim: ParsedClaim): void {
  const { host, sandbox, attemptedAt } = binding;
  if (!sandbox || !claim.sandbox || host !== claim.host) return;
  if (attemptedAt === undefined || claim.attemptedAt === undefined) return;
  const lateMs = attemptedAt - claim.attemptedAt;
  if (lateMs <= 0 || lateMs > LATEST_MS) return;
  throw new IpamError(
    "stale_owner",
    `port ${name} is bound to sandbox ${sandbox.id}, begun at ${toTimestamp(attemptedAt)}, later than ${claim.sandbox.id} at ${toTimestamp(claim.attemptedAt)}; an earlier sandbox never gets it back`,
  );
}

const inUse = (port: PortRecord, why: string) =>
  new IpamError("port_in_use", `port ${port.name} ${why}`, { ports: [port.name] });

/** A machine, a StatefulSet's pod and a port named from labels may have one name, and are not one another's successors. */
function assertSameIdentity(port: PortRecord, owner: NonNullable<PortRecord["owner"]>, claim: ParsedClaim): void {
  const nameFrom = claim.nameFrom ?? "pod";
  // Ports that an early version bound do not have their source.
  const former: Identity = { kind: owner.kind, workload: port.workload, nameFrom: port.nameFrom ?? nameFrom };
  const now: Identity = { kind: claim.owner.kind, workload: claim.workload, nameFrom };
  if (former.nameFrom === now.nameFrom && classOf(former) === classOf(now)) return;
  const place = port.binding ? `is bound on host ${port.binding.host} to` : "is kept for";
  throw inUse(
    port,
    `${place} ${describeOwner(former)}, and this claim is by ${describeOwner(now)}; give one of the two another name, or delete the port when its owner is gone for good (mooringctl delete port ${port.name})`,
  );
}

interface Identity {
  kind: OwnerKind;
  workload: Workload | undefined;
  nameFrom: NameFrom;
}

/** A name that people choose may pass from one kind of controller to another, a pod's own name may not. */
function classOf({ kind, workload, nameFrom }: Identity): string {
  if (kind === "vm" || workload?.kind === "VirtualMachine") return "vm";
  return kind === "pod" && nameFrom === "pod" && workload?.kind === "StatefulSet" ? workload.kind : kind;
}

/** Kubernetes runs one owner of a name at a time. A machine outside it names no workload, and its time orders nothing. */
const isOrdered = ({ nameFrom = "pod", owner, workload }: ParsedClaim): boolean =>
  nameFrom === "pod" && (owner.kind === "pod" || owner.kind === "lease" || workload !== undefined);

const describeOwner = ({ kind, workload, nameFrom }: Identity): string =>
  `${workload ? `${workload.kind} ${workload.name}` : OWNERS[kind]} (${NAME_SOURCES[nameFrom]})`;

const OWNERS = {
  pod: "a pod",
  vm: "a machine",
  device: "a device",
  lease: "a lease",
} as const satisfies Record<OwnerKind, string>;

const NAME_SOURCES = {
  pod: "named after itself",
  labels: "named by labels",
  reserved: "by a reserved name",
} as const satisfies Record<NameFrom, string>;
