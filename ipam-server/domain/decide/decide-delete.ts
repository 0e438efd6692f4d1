import { IpamError, type PortPrecondition } from "../../contract/index.ts";
import { type PortRecord, toPort } from "../model/port-record.ts";
import type { OutcomeByKind } from "../store.ts";
import type { DecisionContext } from "./allocate.ts";
import { emitPortEvent } from "./port-event.ts";
import type { WorkingState } from "./working-state.ts";

/** A person or a controller deletes a port: only an unbound one, and only the one they saw. */
export function decideDelete(
  name: string,
  fence: PortPrecondition | undefined,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): OutcomeByKind["deletePort"] {
  const port = working.port(name);
  if (!port) throw new IpamError("not_found", `there is no port ${name}`);
  if ((fence?.id ?? port.id) !== port.id || (fence?.epoch ?? port.epoch) !== port.epoch) {
    throw new IpamError(
      "conflict",
      `port ${name} has id ${port.id} and epoch ${port.epoch} by now, so it is not the one that was to be deleted; look again`,
      { ports: [name] },
    );
  }
  if (port.binding) {
    throw new IpamError(
      fence ? "conflict" : "port_in_use",
      `port ${name} is bound on host ${port.binding.host}; release it first (mooringctl release ${name})`,
      { ports: [name] },
    );
  }
  const deleted = toPort(port, working.catalog);
  deletePort(port, caller, working, context);
  return { deleted };
}

/** The store collects a port whose TTL ended, unless it was bound again meanwhile. */
export function decideExpire(
  name: string,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): OutcomeByKind["deletePort"] {
  const port = working.port(name);
  if (!port || port.binding || port.expiresAt === undefined || port.expiresAt > context.now) {
    throw new IpamError("conflict", `port ${name} is not due`);
  }
  const deleted = toPort(port, working.catalog);
  deletePort(port, caller, working, context);
  return { deleted };
}

/** Its addresses go to the queue of freed ones. */
export function deletePort(port: PortRecord, caller: string, working: WorkingState, context: DecisionContext): void {
  for (const ip of port.fixedIps) working.free(ip, port, context.now);
  working.removePort(port);
  emitPortEvent(working, "port.deleted", port, caller);
}
