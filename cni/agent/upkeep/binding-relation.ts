import type { MooringEvent, Port } from "../../../ipam-server/contract/index.ts";
import type { LocalPort } from "./local-port.ts";

/** Who this node is to the IPAM: hosts of two clusters may have one name. */
export interface NodeIdentity {
  host: string;
  cluster: string;
}

/** Where a port's newest binding is, as an event or a read tells it. */
export interface NewerBinding {
  portId?: string;
  epoch?: number;
  host?: string;
  cluster?: string;
  ownerUid?: string;
  sandboxId?: string;
}

/**
 * - `superseded`: another binding came after the local port's: its address must be silent here
 * - `own`: it is the local port's own binding, or may become it
 * - `unclear`: nothing to act on; a fresh read may tell
 */
export type BindingRelation = "superseded" | "own" | "unclear";

/** Rule 5: holds a local port against a binding of the port of its name. */
export function classifyBinding(local: LocalPort, newer: NewerBinding, self: NodeIdentity): BindingRelation {
  const { portId, epoch, ownerUid } = local.ovs ?? {};
  const isHere = newer.host === self.host && (newer.cluster === undefined || newer.cluster === self.cluster);
  if (isHere && newer.sandboxId === local.sandboxId) return "own";
  // A binding made ahead of the sandbox, or about to be confirmed for it.
  if (isHere && newer.sandboxId === undefined && (ownerUid === undefined || newer.ownerUid === ownerUid)) return "own";
  if (portId === undefined || epoch === undefined || newer.epoch === undefined) return "unclear";
  // Epochs of two lives of a port cannot be compared.
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
 * Whether the binding that this node holds was over when the event came to be. Of another life of the port an event says
 * nothing: it may be of the one before.
 */
export function endsHeldBinding(held: Port, { type, port, portId, epoch = 0 }: MooringEvent): boolean {
  if (port !== held.name || portId !== held.id) return false;
  if (type === "port.bound" || type === "port.moved") return epoch > held.epoch;
  return (type === "port.released" || type === "port.deleted" || type === "port.reallocated") && epoch >= held.epoch;
}

/** - `fence`: unplug now; `look`: compare with what the IPAM has now; `ended`: the local port's own binding was ended. */
export type EventAction = "fence" | "look" | "ended" | "none";

/** What an event of the IPAM means for a local port. */
export function classifyEvent(local: LocalPort, event: MooringEvent, self: NodeIdentity): EventAction {
  const { portName, portId, epoch = 0, addresses = [] } = local.ovs ?? {};
  const isBinding = event.type === "port.bound" || event.type === "port.moved";
  if (event.port !== portName || portName === undefined) {
    // The port itself, from when it was a lease: what has become of it since is told when the IPAM hears of its pod.
    if (event.portId === portId && portId !== undefined) return "none";
    // Another port got one of its addresses.
    return isBinding && event.addresses?.some(address => addresses.includes(address)) ? "look" : "none";
  }
  if (isBinding) {
    const standing = classifyBinding(local, event, self);
    if (standing === "superseded") return "fence";
    return standing === "unclear" && event.portId !== portId ? "look" : "none";
  }
  const ends = event.type === "port.released" || event.type === "port.deleted" || event.type === "port.reallocated";
  if (!ends || event.portId !== portId || (event.epoch ?? 0) < epoch) return "none";
  return event.type === "port.reallocated" ? "look" : "ended";
}
