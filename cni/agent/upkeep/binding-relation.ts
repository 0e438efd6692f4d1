import type { MooringEvent, Port } from "../../../ipam-server/contract/index.ts";
import type { LocalPort } from "./local-port.ts";

/** This node in the IPAM. The cluster is part of it, because hosts of two clusters may have the same name. */
export interface NodeIdentity {
  host: string;
  cluster: string;
}

/** A port's newest binding, from an event or a read. */
export interface NewerBinding {
  portId?: string;
  epoch?: number;
  host?: string;
  cluster?: string;
  ownerUid?: string;
  sandboxId?: string;
}

/**
 * - `superseded`: the binding is newer than the local port's, which must be disconnected
 * - `own`: it is the local port's binding, or may become it
 * - `unclear`: not comparable; a read of the port may decide
 */
type BindingRelation = "superseded" | "own" | "unclear";

/** Rule 5: compares a local port with a binding of the port of the same name. */
export function classifyBinding(local: LocalPort, newer: NewerBinding, self: NodeIdentity): BindingRelation {
  const { portId, epoch, ownerUid } = local.ovs ?? {};
  const isHere = newer.host === self.host && (newer.cluster === undefined || newer.cluster === self.cluster);
  if (isHere && newer.sandboxId === local.sandboxId) return "own";
  // A pre-claim, or a binding that is about to be confirmed for the sandbox.
  if (isHere && newer.sandboxId === undefined && (ownerUid === undefined || newer.ownerUid === ownerUid)) return "own";
  if (portId === undefined || epoch === undefined || newer.epoch === undefined) return "unclear";
  // Epochs are comparable only within one port id.
  if (newer.portId !== portId) return "unclear";
  return newer.epoch > epoch ? "superseded" : "unclear";
}

export function bindingOf({ id, epoch, cluster, binding }: Port): NewerBinding | undefined {
  if (binding === undefined) return undefined;
  return {
    portId: id,
    epoch,
    host: binding.host,
    ownerUid: binding.ownerUid,
    ...(cluster !== undefined && { cluster }),
    ...(binding.sandbox && { sandboxId: binding.sandbox.id }),
  };
}

/**
 * True if the event ends the binding this node holds. Ignores events of another port id: they may concern an earlier port
 * of that name.
 */
export function endsHeldBinding(held: Port, { type, port, portId, epoch = 0 }: MooringEvent): boolean {
  if (port !== held.name || portId !== held.id) return false;
  // Events of the other host's INACTIVE binding do not reach this node.
  if (type === "port.inactive-released") return epoch === held.inactiveBinding?.epoch;
  if (type === "port.bound" || type === "port.moved") return epoch > held.epoch;
  return (type === "port.released" || type === "port.deleted" || type === "port.reallocated") && epoch >= held.epoch;
}

/** - `fence`: disconnect now; `compare`: sweep; `ended`: the local port's own binding has ended, sweep. */
export type EventAction = "fence" | "compare" | "ended" | "none";

/** Returns what to do with a local port after an event of the IPAM. */
export function classifyEvent(local: LocalPort, event: MooringEvent, self: NodeIdentity): EventAction {
  const { portName, portId, epoch = 0, addresses = [] } = local.ovs ?? {};
  const isBinding = event.type === "port.bound" || event.type === "port.moved";
  if (event.port !== portName || portName === undefined) {
    // An event of the port from when it was a lease. Its state is decided when the claim of its pod is delivered.
    if (event.portId === portId && portId !== undefined) return "none";
    // Another port has one of its addresses now.
    return isBinding && event.addresses?.some(address => addresses.includes(address)) ? "compare" : "none";
  }
  if (isBinding) {
    // It may have returned here; only a read of the port decides that.
    if (local.isFenced) return "compare";
    const relation = classifyBinding(local, event, self);
    if (relation === "superseded") return "fence";
    return relation === "unclear" && event.portId !== portId ? "compare" : "none";
  }
  const ends = event.type === "port.released" || event.type === "port.deleted" || event.type === "port.reallocated";
  if (!ends || event.portId !== portId || (event.epoch ?? 0) < epoch) return "none";
  return event.type === "port.reallocated" ? "compare" : "ended";
}
