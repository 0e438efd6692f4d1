import { IpamError, type Release, type ReleaseResult } from "../../contract/index.ts";
import type { OutcomeByKind } from "../model/mutation.ts";
import { type BindingRecord, type PortRecord, sameSandbox } from "../model/port-record.ts";
import { isReserved } from "../model/reservation.ts";
import { findConflict, reportConflict } from "./decide-conflict.ts";
import { removePort } from "./decide-delete.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { dropInactive } from "./inactive/inactive-binding.ts";
import { emitPortEvent } from "./port-event.ts";

/**
 * "My sandbox is gone": ends the binding, ACTIVE or INACTIVE, if it is still the caller's. Anything else succeeds and
 * changes nothing, so that a late or repeated DEL is harmless. A port is unbound for good when both have ended: while a
 * migration's target is plugged, its addresses are kept for it.
 */
export function decideRelease(release: Release, scope: DecisionScope): ReleaseResult {
  const { working } = scope;
  if (!release.sandbox && release.ownerUid === undefined) {
    throw new IpamError("invalid_request", "a release needs sandbox or ownerUid to say whose binding ends", {
      field: "sandbox",
    });
  }
  if (release.name === undefined) {
    const [first] = [...working.ports()].flatMap(port => endMine(port, release, scope) ?? []);
    return first ?? { released: false, reason: "not_found" };
  }
  const port = working.port(release.name);
  if (!port) return { released: false, reason: "not_found", name: release.name };
  if (!port.binding && !port.inactive) return { released: false, reason: "unbound", name: port.name };
  return endMine(port, release, scope) ?? { released: false, reason: "stale", name: port.name };
}

function endMine(port: PortRecord, release: Release, scope: DecisionScope): ReleaseResult | undefined {
  const { binding, inactive, owner } = port;
  if (binding && isMine(binding, owner, release)) return endBinding(port, binding, release, scope);
  if (inactive && isMine(inactive, inactive.owner, release)) {
    const left = dropInactive(port, scope);
    return { released: true, name: port.name, deleted: !binding && keepOrDelete(left, false, scope) };
  }
  return undefined;
}

/**
 * A sandbox ends only its own binding. An owner ends only a binding without a sandbox: a caller that saw none would
 * otherwise end what was plugged since.
 */
function isMine(binding: BindingRecord, owner: PortRecord["owner"], { host, sandbox, ownerUid }: Release): boolean {
  if (binding.host !== host) return false;
  if (binding.sandbox) return sandbox !== undefined && sameSandbox(sandbox, binding.sandbox);
  return ownerUid !== undefined && owner?.uid === ownerUid;
}

function endBinding(port: PortRecord, binding: BindingRecord, release: Release, scope: DecisionScope): ReleaseResult {
  const { owner } = port;
  const { now } = scope.context;
  const conflict = release.conflict && findConflict(port, release.conflict, scope);
  const released: PortRecord = {
    ...port,
    binding: undefined,
    underlay: "DOWN",
    overlay: "DOWN",
    // What no sandbox had is as it was before.
    previousBindingReleased: !conflict && (binding.sandbox ? release.unplugged === true : port.previousBindingReleased),
    updatedAt: now,
    releasedAt: now,
    expiresAt: undefined,
  };
  scope.working.putPort(released);
  emitPortEvent("port.released", released, scope, {
    host: binding.host,
    ...(binding.sandbox && { sandboxId: binding.sandbox.id }),
    ...(owner && { ownerUid: owner.uid }),
  });
  // What a claim created and no pod used has nothing to keep; the next claim gets another address than one in conflict.
  const isFirst = binding.boundAt === port.createdAt;
  const isUnused = isFirst && (conflict !== undefined || (release.unused === true && !binding.sandbox));
  const deleted = !port.inactive && keepOrDelete(released, isUnused, scope);
  if (conflict) reportConflict(released, conflict, { host: release.host, isFree: deleted }, scope);
  return { released: true, name: port.name, deleted };
}

/** Decides what becomes of a port whose last binding has ended. True: it is deleted. */
function keepOrDelete(port: PortRecord, isUnused: boolean, scope: DecisionScope): boolean {
  const { retention } = port;
  const isKept = retention.policy === "sticky" && !isUnused;
  const deleted = !isKept && !isReserved(port) && !port.isProtected;
  if (deleted) removePort(port, scope);
  else if (retention.ttlSeconds !== undefined && !port.isProtected) {
    scope.working.putPort({ ...port, expiresAt: scope.context.now + retention.ttlSeconds * 1000 });
  }
  return deleted;
}

/** Removes a port of a retired cluster, bound or not. A reserved port is only unbound: a person deletes it by its name. */
export function decidePurge(name: string, cluster: string, scope: DecisionScope): OutcomeByKind["purgePort"] {
  const { working } = scope;
  const port = working.port(name);
  if (port?.cluster !== cluster || port.isProtected) return { purged: "kept" };
  const left = dropInactive(port, scope);
  if (left.binding) endBinding(left, left.binding, { host: left.binding.host }, scope);
  const unbound = working.port(name);
  if (!unbound) return { purged: "deleted" };
  if (isReserved(unbound)) {
    working.putPort({ ...unbound, cluster: undefined, namespace: undefined, workload: undefined });
    return { purged: "unbound" };
  }
  removePort(unbound, scope);
  return { purged: "deleted" };
}
