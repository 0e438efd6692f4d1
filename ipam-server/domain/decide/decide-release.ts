import { IpamError, type Release, type ReleaseResult } from "../../contract/index.ts";
import type { OutcomeByKind } from "../model/mutation.ts";
import { type PortRecord, sameSandbox } from "../model/port-record.ts";
import { isReserved } from "../model/reservation.ts";
import { removePort } from "./decide-delete.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { emitPortEvent } from "./port-event.ts";

/**
 * "My sandbox is gone": ends the binding if it is still the caller's. Anything else succeeds and changes nothing, so that
 * a late or repeated DEL is harmless.
 */
export function decideRelease(release: Release, scope: DecisionScope): ReleaseResult {
  const { working } = scope;
  if (!release.sandbox && release.ownerUid === undefined) {
    throw new IpamError("invalid_request", "a release needs sandbox or ownerUid to say whose binding ends", {
      field: "sandbox",
    });
  }
  if (release.name === undefined) {
    const mine = [...working.ports()].filter(port => isMine(port, release));
    const [first] = mine.map(port => endBinding(port, release, scope));
    return first ?? { released: false, reason: "not_found" };
  }
  const port = working.port(release.name);
  if (!port) return { released: false, reason: "not_found", name: release.name };
  if (!port.binding) return { released: false, reason: "unbound", name: port.name };
  if (!isMine(port, release)) return { released: false, reason: "stale", name: port.name };
  return endBinding(port, release, scope);
}

/**
 * A sandbox ends only its own binding. An owner ends only a binding without a sandbox: a caller that saw none would
 * otherwise end what was plugged since.
 */
function isMine({ binding, owner }: PortRecord, { host, sandbox, ownerUid }: Release): boolean {
  if (!binding || binding.host !== host) return false;
  if (binding.sandbox) return sandbox !== undefined && sameSandbox(sandbox, binding.sandbox);
  return ownerUid !== undefined && owner?.uid === ownerUid;
}

function endBinding(port: PortRecord, release: Release, scope: DecisionScope): ReleaseResult {
  const { binding, owner, retention } = port;
  const { now } = scope.context;
  const released: PortRecord = {
    ...port,
    binding: undefined,
    underlay: "DOWN",
    overlay: "DOWN",
    updatedAt: now,
    releasedAt: now,
    expiresAt: retention.ttlSeconds === undefined ? undefined : now + retention.ttlSeconds * 1000,
  };
  scope.working.putPort(released);
  emitPortEvent("port.released", released, scope, {
    ...(binding && { host: binding.host }),
    ...(binding?.sandbox && { sandboxId: binding.sandbox.id }),
    ...(owner && { ownerUid: owner.uid }),
  });
  const isKept = retention.policy === "sticky" && !(release.unused === true && isFirstUse(port));
  const deleted = !isKept && !isReserved(port);
  if (deleted) removePort(released, scope);
  return { released: true, name: port.name, deleted };
}

/** True if the claim that created the port made this binding, and no sandbox has used it: there is nothing to keep. */
function isFirstUse({ binding, createdAt }: PortRecord): boolean {
  return binding !== undefined && binding.sandbox === undefined && binding.boundAt === createdAt;
}

/** Removes a port of a retired cluster, bound or not. A reserved port is only unbound: a person deletes it by its name. */
export function decidePurge(name: string, cluster: string, scope: DecisionScope): OutcomeByKind["purgePort"] {
  const { working } = scope;
  const port = working.port(name);
  if (port?.cluster !== cluster) return { purged: "kept" };
  if (port.binding) endBinding(port, { host: port.binding.host }, scope);
  const unbound = working.port(name);
  if (!unbound) return { purged: "deleted" };
  if (isReserved(unbound)) {
    working.putPort({ ...unbound, cluster: undefined, namespace: undefined, workload: undefined });
    return { purged: "unbound" };
  }
  removePort(unbound, scope);
  return { purged: "deleted" };
}
