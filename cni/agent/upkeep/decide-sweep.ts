import type { Binding, InactiveBinding, Port, Release } from "../../../ipam-server/contract/index.ts";
import { bindingOf, classifyBinding, type NodeIdentity } from "./binding-relation.ts";
import { bindingKey, keyOf, type LocalPort } from "./local-port.ts";

/** The input of a sweep, read at about one time. A source that could not be read is absent, and nothing is removed for it. */
export interface SweepView {
  self: NodeIdentity;
  local: readonly LocalPort[];
  /** Ports of this cluster that are bound to this host. */
  bindings?: readonly Port[];
  /** Ports whose INACTIVE binding is on this host: the targets of migrations. */
  inactive?: readonly InactivePort[];
  /** Migration targets of this node by pod UID. */
  migrations: ReadonlyMap<string, "waiting" | "ready">;
  /** Ports of local names that are not among the bindings. Undefined: the IPAM has no such port. */
  others: ReadonlyMap<string, Port | undefined>;
  /** Pods of this node by UID, from the watch, which may lag: a removal takes a fresh read of its pod, see `confirmDue`. */
  pods?: ReadonlyMap<string, { finished: boolean; hasRun: boolean }>;
  /** Binding keys of local ports whose binding an event has ended. */
  ended: ReadonlySet<string>;
  /** True while the IPAM recovers from a restore: its binding of a port may be older than the plugged one. */
  isRecovering?: boolean;
  /** True if a lease of this node is idle here, or assigned to a pod and not yet confirmed. */
  isLeaseInUse(name: string): boolean;
}

export type FenceReason = "moved" | "released" | "inactive";
export type InactivePort = Port & { inactiveBinding: InactiveBinding };

/** Repairs, and changes that the IPAM's answer proves: applied by the sweep that finds them. */
type ImmediateAction =
  | { kind: "fence"; local: LocalPort; reason: FenceReason }
  /** Makes the INACTIVE binding ACTIVE and connects the port. */
  | { kind: "activate"; local: LocalPort; port: InactivePort }
  /** Makes it an access port of its own VLAN again. */
  | { kind: "restoreVlan"; local: LocalPort; found: string }
  /** Adds the port to OVS again, or corrects its external_ids. */
  | { kind: "replug"; local: LocalPort; port: Port }
  /** Adds the port to OVS as OVS has or had it, on its own bridge. */
  | { kind: "restore"; local: LocalPort }
  /** `leasedPort`: the IPAM still has the port as this lease. */
  | { kind: "claim"; local: LocalPort; ownerUid: string; leasedPort?: string }
  | { kind: "report"; local: LocalPort; port: Port };

/** Removals: applied only if a sweep after the grace period finds the same, with a fresh read of the pod of `ownerUid`. */
export type DestructiveAction =
  | { kind: "unplug"; local: LocalPort; ownerUid?: string; release: boolean; why: string }
  | { kind: "release"; port: Port; ownerUid?: string; release: Release; why: string };

export type SweepAction = ImmediateAction | DestructiveAction;

/**
 *     sandbox        binding in the IPAM                        action
 *     there          its own                                    replug or report if OVS or the IPAM is outdated
 *     there          the IPAM is unreachable                    restore what OVS lost since this agent read it
 *     there          a newer one of the port                    fence, and keep it so until its sandbox is gone
 *     there          another one, in a backup, pod there        claim: the owners decide which is newer
 *     there, fenced  its own again                              replug
 *     there          its own, INACTIVE                          activate once the machine runs here, else keep it fenced
 *     there          none, pod there                            claim again, unless it is a target whose machine runs elsewhere
 *     there          a lease that is assigned to the pod        none while its claim is journaled, else claim
 *     there          none, pod gone                             fence if an event ended it, else unplug after the grace
 *     link gone      any                                        unplug after the grace; release if the pod is gone or in another sandbox
 *     gone           any, pod gone or in another sandbox        unplug and release after the grace
 *     none           one, pod gone or finished                  release after the grace
 *     none           one without a sandbox, pod has run         release after the grace: its first interface is another plugin's
 *     none           a lease that is not in use here            release after the grace
 */
export function decideSweep(view: SweepView): SweepAction[] {
  const decided = view.local.map(local => ({ local, actions: classifyLocal(local, view) }));
  // What the fence disconnects must not be connected first: its address may be in use elsewhere.
  const connected = decided.filter(({ actions }) => !actions.some(({ kind }) => kind === "fence"));
  return [
    ...connected.flatMap(({ local }) => findMisplaced(local)),
    ...decided.flatMap(({ actions }) => actions),
    ...classifyBindings(view),
  ];
}

/** Isolation comes first, and asks neither the IPAM nor Kubernetes. */
function findMisplaced(local: LocalPort): SweepAction[] {
  const { wrongVlan, wrongBridge } = local.ovs ?? {};
  if (local.isFenced) return [];
  // On the right bridge it is added with its own VLAN.
  if (wrongBridge?.isOurs && local.hasLink) return [{ kind: "restore", local }];
  return wrongVlan === undefined ? [] : [{ kind: "restoreVlan", local, found: wrongVlan }];
}

function classifyLocal(local: LocalPort, view: SweepView): SweepAction[] {
  const bound = view.bindings?.find(port => isBoundTo(port.binding, local));
  const inactive = view.inactive?.find(port => isBoundTo(port.inactiveBinding, local));
  const ownerUid = local.ovs?.ownerUid ?? bound?.binding?.ownerUid;
  const isAbandoned = isGone(ownerUid, view) || runsElsewhere(local, ownerUid, view);
  const of = { local, ...(ownerUid !== undefined && { ownerUid }) };
  if (!local.hasLink) {
    // Without its link the port is disconnected, and only its OVS row is left.
    return [{ kind: "unplug", ...of, release: isAbandoned, why: "its interface is gone" }];
  }
  if (local.sandbox === "gone") {
    return isAbandoned ? [{ kind: "unplug", ...of, release: true, why: "its sandbox and its pod are gone" }] : [];
  }
  if (view.bindings === undefined) return isLost(local) ? [{ kind: "restore", local }] : [];
  if (bound !== undefined) return classifyBound(local, bound);
  return inactive === undefined ? classifyUnbound(local, view) : classifyInactive(local, inactive, view);
}

function classifyInactive(local: LocalPort, port: InactivePort, { migrations }: SweepView): SweepAction[] {
  if (migrations.get(port.inactiveBinding.ownerUid) === "ready") return [{ kind: "activate", local, port }];
  return local.isFenced ? [] : [{ kind: "fence", local, reason: "inactive" }];
}

/** A live sandbox with its own binding: bring OVS and the IPAM up to date. */
function classifyBound(local: LocalPort, port: Port): SweepAction[] {
  const { ovs } = local;
  const isRecorded = ovs?.recordedVlan !== undefined && ovs.physicalNetwork !== undefined;
  const isKnown = isRecorded && ovs.portName === port.name && ovs.portId === port.id && ovs.epoch === port.epoch;
  const isOnForeignBridge = ovs?.wrongBridge?.isOurs === false;
  if (ovs === undefined || !isKnown || isOnForeignBridge || local.isFenced || local.isLinkDown)
    return [{ kind: "replug", local, port }];
  return ovs.ofport !== undefined && port.underlay === "BUILD" ? [{ kind: "report", local, port }] : [];
}

/** A live sandbox without a binding here: it has moved, or is lost. */
function classifyUnbound(local: LocalPort, view: SweepView): SweepAction[] {
  const { portName, portId, ownerUid } = local.ovs ?? {};
  if (portName === undefined) return [];
  const hasPod = ownerUid !== undefined && view.pods?.has(ownerUid);
  const lease = view.bindings?.find(port => isLease(port) && port.id === portId)?.name;
  if (lease !== undefined && view.isLeaseInUse(lease)) return [];
  const here = view.bindings?.find(({ name }) => name === portName);
  if (here === undefined && !view.others.has(portName)) return [];
  const port = here ?? view.others.get(portName);
  const newer = port && bindingOf(port);
  if (port !== undefined && newer !== undefined) {
    const relation = classifyBinding(local, newer, view.self);
    // This is a read and no replayed event: another port id of the same name is newer.
    const isOtherPort = relation === "unclear" && portId !== undefined && port.id !== portId;
    const isNewer = relation === "superseded" || isOtherPort;
    if (isNewer && local.isFenced) return [];
    // The claim decides by the owners, because the backup's binding may be older.
    const mayBeOlder = view.isRecovering && hasPod && !local.isFenced;
    if (isNewer && !mayBeOlder) return [{ kind: "fence", local, reason: "moved" }];
    if (relation === "unclear" && !mayBeOlder) return [];
  }
  if (ownerUid === undefined || view.pods === undefined) return [];
  // Claimed before the source's claim, it would take the port from the running machine.
  if (local.isFenced && view.migrations.get(ownerUid) === "waiting") return [];
  if (hasPod) return [{ kind: "claim", local, ownerUid, ...(lease && { leasedPort: lease }) }];
  if (newer !== undefined) return [];
  if (view.ended.has(bindingKey(local)) && !local.isFenced) return [{ kind: "fence", local, reason: "released" }];
  return [{ kind: "unplug", local, ownerUid, release: false, why: "its pod and its binding are gone" }];
}

/** Bindings of this host without a plugged port. */
function classifyBindings(view: SweepView): SweepAction[] {
  const { bindings = [], inactive = [], pods, local, self } = view;
  if (pods === undefined) return [];
  const used = (port: Port) =>
    local.some(
      each => isBoundTo(port.binding, each) || (each.ovs?.portName === port.name && each.hasLink && !each.isFenced),
    );
  const targets = inactive.map(({ inactiveBinding, ...port }) => ({ ...port, binding: inactiveBinding }));
  return [...bindings, ...targets].flatMap((port): SweepAction[] => {
    const { binding, owner } = port;
    if (binding === undefined || owner?.kind === "device" || used(port)) return [];
    if (isLease(port)) {
      if (view.isLeaseInUse(port.name) || local.some(({ ovs }) => ovs?.portId === port.id)) return [];
      const release = { name: port.name, host: self.host, ownerUid: binding.ownerUid };
      return [{ kind: "release", port, release, why: "the lease is not in use here" }];
    }
    const { ownerUid, sandbox } = binding;
    const pod = pods.get(ownerUid);
    const release = { name: port.name, host: self.host, ownerUid, ...(sandbox && { sandbox }), unplugged: true };
    if (pod !== undefined && !pod.finished) {
      // A link without its OVS row may be the pod's.
      if (sandbox !== undefined || !pod.hasRun || local.some(({ ovs }) => ovs === undefined)) return [];
      const unused = { ...release, unused: true as const };
      return [{ kind: "release", port, ownerUid, release: unused, why: "its pod runs without it" }];
    }
    return [{ kind: "release", port, ownerUid, release, why: pod ? "its pod has finished" : "its pod is gone" }];
  });
}

/** True if OVSDB lost the port of a live pod: its last known row is valid until the IPAM contradicts it. */
function isLost({ ovs, lastKnown, isFenced }: LocalPort): boolean {
  return ovs === undefined && !isFenced && lastKnown?.portName !== undefined && lastKnown.mac !== undefined;
}

const isLease = ({ owner }: Port): boolean => owner?.kind === "lease";

function isBoundTo(binding: Binding | undefined, { sandboxId, containerInterface }: LocalPort): boolean {
  return binding?.sandbox?.id === sandboxId && binding.sandbox.interface === containerInterface;
}

function isGone(ownerUid: string | undefined, { pods }: SweepView): boolean {
  return ownerUid !== undefined && pods !== undefined && !pods.has(ownerUid);
}

/** True if the pod runs in another sandbox, which is plugged here or has the binding. */
function runsElsewhere(local: LocalPort, ownerUid: string | undefined, { local: all, bindings = [] }: SweepView) {
  if (ownerUid === undefined) return false;
  const { sandboxId, containerInterface } = local;
  const isPlugged = all.some(
    other =>
      other.sandboxId !== sandboxId &&
      other.containerInterface === containerInterface &&
      other.ovs?.ownerUid === ownerUid &&
      other.hasLink &&
      !other.isFenced &&
      other.sandbox === "there",
  );
  const isBound = bindings.some(
    ({ binding }) =>
      binding?.ownerUid === ownerUid &&
      binding.sandbox?.interface === containerInterface &&
      binding.sandbox.id !== sandboxId,
  );
  return isPlugged || isBound;
}

/** Removals in their grace period, with the time they were first found. */
export type PendingRemovals = ReadonlyMap<string, number>;

/** Returns the removals that were found throughout the grace period. Drops those that are no longer found. */
export function selectDue(
  actions: readonly DestructiveAction[],
  previous: PendingRemovals,
  now: number,
  graceMs: number,
): { due: DestructiveAction[]; pending: PendingRemovals } {
  const pending = new Map(actions.map(action => [removalKey(action), previous.get(removalKey(action)) ?? now]));
  const due = actions.filter(action => now - (pending.get(removalKey(action)) ?? now) >= graceMs);
  // Never due when first found, however short the grace: it takes two sweeps.
  return { due: due.filter(action => previous.has(removalKey(action))), pending };
}

/** Of the removals that are due, returns those that are decided again, as they are decided then. */
export function confirmDue(
  due: readonly DestructiveAction[],
  again: readonly DestructiveAction[],
): DestructiveAction[] {
  const keys = new Set(due.map(removalKey));
  return again.filter(action => keys.has(removalKey(action)));
}

/** Equal for the same removal for the same reason. A binding of another epoch is another removal. */
function removalKey(action: DestructiveAction): string {
  if (action.kind === "unplug") return `unplug ${keyOf(action.local)} ${action.why}`;
  return `release ${action.port.name} ${action.port.id} ${action.port.epoch}`;
}
