import { IpamError, type Port, type PortPrecondition } from "../../contract/index.ts";
import type { OutcomeByKind } from "../model/mutation.ts";
import { type PortRecord, toPort } from "../model/port-record.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { emitPortEvent } from "./port-event.ts";

/** Deletes an unbound port at the request of a person or a controller, if it is still the one they saw. */
export function decideDelete(
  name: string,
  precondition: PortPrecondition | undefined,
  scope: DecisionScope,
): OutcomeByKind["deletePort"] {
  const port = scope.working.port(name);
  if (!port) throw new IpamError("not_found", `there is no port ${name}`);
  if ((precondition?.id ?? port.id) !== port.id || (precondition?.epoch ?? port.epoch) !== port.epoch) {
    throw new IpamError(
      "conflict",
      `port ${name} has id ${port.id} and epoch ${port.epoch} by now, so it is not the one that was to be deleted; look again`,
      { ports: [name] },
    );
  }
  if (port.isProtected) {
    throw new IpamError("conflict", `port ${name} is protected; unprotect it first (mooringctl unprotect ${name})`, {
      ports: [name],
    });
  }
  const binding = port.binding ?? port.inactive;
  if (binding) {
    throw new IpamError(
      precondition ? "conflict" : "port_in_use",
      `port ${name} is bound on host ${binding.host}; release it first (mooringctl release ${name})`,
      { ports: [name] },
    );
  }
  return { deleted: deletePort(port, scope) };
}

/** Protects a port from every deletion, or ends that: an unbound port's retention then begins again. Idempotent. */
export function decideProtect(name: string, isProtected: boolean, scope: DecisionScope): OutcomeByKind["protect"] {
  const { working, context } = scope;
  const port = working.port(name);
  if (!port) throw new IpamError("not_found", `there is no port ${name}`);
  if (port.isProtected === isProtected) return { port: toPort(port, working.catalog), created: false };
  const { policy, ttlSeconds = policy === "ephemeral" ? 0 : undefined } = port.retention;
  const isUnbound = !port.binding && !port.inactive && !port.reservation;
  const isDue = !isProtected && isUnbound && ttlSeconds !== undefined;
  const isLease = port.owner?.kind === "lease";
  const changed: PortRecord = {
    ...port,
    isProtected,
    unneeded: undefined,
    expiresAt: isLease ? port.expiresAt : isDue ? context.now + ttlSeconds * 1000 : undefined,
    updatedAt: context.now,
  };
  working.putPort(changed);
  emitPortEvent("port.retained", changed, scope, { message: isProtected ? "protected" : "no longer protected" });
  return { port: toPort(changed, working.catalog), created: false };
}

/** Deletes a port whose retention has ended, for the store. Throws `conflict` if it was bound again meanwhile. */
export function decideExpire(name: string, scope: DecisionScope): OutcomeByKind["deletePort"] {
  const port = scope.working.port(name);
  if (
    !port ||
    port.isProtected ||
    port.binding ||
    port.inactive ||
    port.expiresAt === undefined ||
    port.expiresAt > scope.context.now
  ) {
    throw new IpamError("conflict", `port ${name} is not due`);
  }
  return { deleted: deletePort(port, scope) };
}

function deletePort(port: PortRecord, scope: DecisionScope): Port {
  const deleted = toPort(port, scope.working.catalog);
  removePort(port, scope);
  return deleted;
}

/** Removes the port and appends its addresses to the queue of freed ones. */
export function removePort(port: PortRecord, scope: DecisionScope, message?: string): void {
  const { working, context } = scope;
  for (const ip of port.fixedIps) working.free(ip, port, context.now);
  working.removePort(port);
  emitPortEvent("port.deleted", port, scope, message === undefined ? {} : { message });
}
