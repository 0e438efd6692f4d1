import { IpamError, type Release, type ReleaseResult } from "../../contract/index.ts";
import { type PortRecord, sameSandbox } from "../model/port-record.ts";
import { isReserved } from "../model/reservation.ts";
import type { DecisionContext } from "./allocate.ts";
import { deletePort } from "./decide-delete.ts";
import { emitPortEvent } from "./port-event.ts";
import type { WorkingState } from "./working-state.ts";

/**
 * "My sandbox is gone" (§ the rules that keep an address safe, 2): ends the binding if it is still the caller's.
 * Whatever else is success that changes nothing, so that a late DEL may come at any time and any number of times.
 */
export function decideRelease(
  release: Release,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ReleaseResult {
  if (!release.sandbox && release.ownerUid === undefined) {
    throw new IpamError("invalid_request", "a release needs sandbox or ownerUid to say whose binding ends", {
      field: "sandbox",
    });
  }
  if (release.name === undefined) {
    const mine = [...working.ports()].filter(port => isMine(port, release));
    const [first] = mine.map(port => end(port, caller, working, context));
    return first ?? { released: false, reason: "not_found" };
  }
  const port = working.port(release.name);
  if (!port) return { released: false, reason: "not_found", name: release.name };
  if (!port.binding) return { released: false, reason: "unbound", name: port.name };
  if (!isMine(port, release)) return { released: false, reason: "stale", name: port.name };
  return end(port, caller, working, context);
}

/**
 * A sandbox speaks for its own binding only. The owner speaks before the sandbox is known, and no longer: who has seen a
 * binding without one would end what has been plugged since.
 */
function isMine({ binding, owner }: PortRecord, { host, sandbox, ownerUid }: Release): boolean {
  if (!binding || binding.host !== host) return false;
  if (binding.sandbox) return sandbox !== undefined && sameSandbox(sandbox, binding.sandbox);
  return ownerUid !== undefined && owner?.uid === ownerUid;
}

function end(port: PortRecord, caller: string, working: WorkingState, context: DecisionContext): ReleaseResult {
  const { binding, owner, retention } = port;
  const { now } = context;
  const released: PortRecord = {
    ...port,
    binding: undefined,
    underlay: "DOWN",
    overlay: "DOWN",
    updatedAt: now,
    releasedAt: now,
    expiresAt: retention.ttlSeconds === undefined ? undefined : now + retention.ttlSeconds * 1000,
  };
  working.putPort(released);
  emitPortEvent(working, "port.released", released, caller, {
    ...(binding && { host: binding.host }),
    ...(binding?.sandbox && { sandboxId: binding.sandbox.id }),
    ...(owner && { ownerUid: owner.uid }),
  });
  const deleted = retention.policy === "ephemeral" && !isReserved(port);
  if (deleted) deletePort(released, caller, working, context);
  return { released: true, name: port.name, deleted };
}
