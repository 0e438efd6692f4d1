import type { Port, Release } from "../../../ipam-server/contract/index.ts";
import { bindingOf, classifyBinding, type NodeIdentity } from "./binding-relation.ts";
import { bindingKey, keyOf, type LocalPort } from "./local-port.ts";

/** All that a sweep compares, read at about one moment. What could not be read whole is absent: unknown is kept. */
export interface SweepView {
  self: NodeIdentity;
  local: readonly LocalPort[];
  /** Ports of this cluster that are bound to this host. */
  bindings?: readonly Port[];
  /** Local ports' names that are not among the bindings, as the IPAM has them: undefined is «no such port». */
  others: ReadonlyMap<string, Port | undefined>;
  /** Pods of this node by UID, read past every cache. */
  pods?: ReadonlyMap<string, { finished: boolean }>;
  /** `lifeOf` local ports whose binding an event said had ended. */
  ended: ReadonlySet<string>;
  /** Whether a lease of this node waits for a pod here, or was given to one and the IPAM has yet to hear of it. */
  isLeaseInUse(name: string): boolean;
}

/** Repairs, and what the IPAM's positive answer demands: done at the first look. */
export type ImmediateAction =
  | { kind: "fence"; local: LocalPort; reason: "moved" | "released" }
  /** Put back into OVS, or tell OVS what it should know of it. */
  | { kind: "replug"; local: LocalPort; port: Port }
  /** The same from memory, while the IPAM cannot be asked. */
  | { kind: "restore"; local: LocalPort }
  /** `leasedPort`: the IPAM still has it as a lease, of which it was never told whose it is. */
  | { kind: "claim"; local: LocalPort; ownerUid: string; leasedPort?: string }
  | { kind: "report"; local: LocalPort; port: Port };

/** What takes something away: done only when a later fresh look says the same. */
export type DestructiveAction =
  | { kind: "unplug"; local: LocalPort; release: boolean; why: string }
  | { kind: "release"; port: Port; release: Release; why: string };

export type SweepAction = ImmediateAction | DestructiveAction;

/**
 *     sandbox        binding in the IPAM                        what is done
 *     there          its own                                    replug, report where OVS or the IPAM is behind
 *     there          the IPAM is away                           restore what OVS has forgotten since this agent saw it
 *     there          a newer one of the port                    fence
 *     there          none, pod there                            claim again
 *     there          a lease that is the pod's by now           none while the IPAM is yet to be told, else claim
 *     there          none, pod gone                             fence if told so by an event, else unplug at the second look
 *     link gone      any                                        unplug at the second look; release if the pod is gone or lives on in another sandbox
 *     gone           any, pod gone or in another sandbox        unplug and release at the second look
 *     none           one, pod gone or finished                  release at the second look
 *     none           a lease that nobody here knows             release at the second look
 */
export function decideSweep(view: SweepView): SweepAction[] {
  return [...view.local.flatMap(local => classifyLocal(local, view)), ...classifyBindings(view)];
}

function classifyLocal(local: LocalPort, view: SweepView): SweepAction[] {
  const bound = view.bindings?.find(port => isBoundTo(port, local));
  const ownerUid = local.ovs?.ownerUid ?? bound?.binding?.ownerUid;
  const isAbandoned = isGone(ownerUid, view) || livesElsewhere(local, ownerUid, view);
  if (!local.hasLink) {
    // Nothing can be heard of it any more: the row only keeps OVS busy.
    return [{ kind: "unplug", local, release: isAbandoned, why: "its interface is gone" }];
  }
  if (local.sandbox === "gone") {
    return isAbandoned ? [{ kind: "unplug", local, release: true, why: "its sandbox and its pod are gone" }] : [];
  }
  if (view.bindings === undefined) return isForgotten(local) ? [{ kind: "restore", local }] : [];
  return bound === undefined ? classifyUnbound(local, view) : classifyBound(local, bound);
}

/** A live sandbox with its own binding: bring OVS and the IPAM up to date. */
function classifyBound(local: LocalPort, port: Port): SweepAction[] {
  const { ovs } = local;
  const isKnown = ovs?.portName === port.name && ovs.portId === port.id && ovs.epoch === port.epoch;
  if (ovs === undefined || !isKnown) return [{ kind: "replug", local, port }];
  return ovs.ofport !== undefined && port.underlay === "BUILD" ? [{ kind: "report", local, port }] : [];
}

/** A live sandbox whose binding is not here: somebody else's by now, or lost. */
function classifyUnbound(local: LocalPort, view: SweepView): SweepAction[] {
  const { portName, portId, ownerUid } = local.ovs ?? {};
  if (portName === undefined) return [];
  const lease = view.bindings?.find(port => isLease(port) && port.id === portId)?.name;
  if (lease !== undefined && view.isLeaseInUse(lease)) return [];
  const here = view.bindings?.find(({ name }) => name === portName);
  if (here === undefined && !view.others.has(portName)) return [];
  const port = here ?? view.others.get(portName);
  const newer = port && bindingOf(port);
  if (port !== undefined && newer !== undefined) {
    const standing = classifyBinding(local, newer, view.self);
    // Read now and not replayed: another life of the port that is bound to somebody else came after this one.
    const isOtherLife = standing === "unclear" && portId !== undefined && port.id !== portId;
    if (standing === "superseded" || isOtherLife) return [{ kind: "fence", local, reason: "moved" }];
    if (standing === "unclear") return [];
  }
  if (ownerUid === undefined || view.pods === undefined) return [];
  if (view.pods.has(ownerUid)) return [{ kind: "claim", local, ownerUid, ...(lease && { leasedPort: lease }) }];
  if (newer !== undefined) return [];
  if (view.ended.has(bindingKey(local))) return [{ kind: "fence", local, reason: "released" }];
  return [{ kind: "unplug", local, release: false, why: "its pod and its binding are gone" }];
}

/** Bindings of this host that nothing here is plugged for. */
function classifyBindings(view: SweepView): SweepAction[] {
  const { bindings = [], pods, local, self } = view;
  if (pods === undefined) return [];
  const used = (port: Port) =>
    local.some(each => isBoundTo(port, each) || (each.ovs?.portName === port.name && each.hasLink));
  return bindings.flatMap((port): SweepAction[] => {
    const { binding, owner } = port;
    if (binding === undefined || owner?.kind === "device" || used(port)) return [];
    if (isLease(port)) {
      if (view.isLeaseInUse(port.name) || local.some(({ ovs }) => ovs?.portId === port.id)) return [];
      const release = { name: port.name, host: self.host, ownerUid: binding.ownerUid };
      return [{ kind: "release", port, release, why: "it is a lease that waits for no pod" }];
    }
    const pod = pods.get(binding.ownerUid);
    if (pod !== undefined && !pod.finished) return [];
    const { ownerUid, sandbox } = binding;
    const release = { name: port.name, host: self.host, ownerUid, ...(sandbox && { sandbox }) };
    return [{ kind: "release", port, release, why: pod ? "its pod has finished" : "its pod is gone" }];
  });
}

/** OVSDB was wiped under a live pod: what it last said of it stands as long as nobody says otherwise. */
function isForgotten({ ovs, lastKnown }: LocalPort): boolean {
  return ovs === undefined && lastKnown?.portName !== undefined && lastKnown.mac !== undefined;
}

const isLease = ({ owner }: Port): boolean => owner?.kind === "lease";

function isBoundTo({ binding }: Port, { sandboxId, containerInterface }: LocalPort): boolean {
  return binding?.sandbox?.id === sandboxId && binding.sandbox.interface === containerInterface;
}

function isGone(ownerUid: string | undefined, { pods }: SweepView): boolean {
  return ownerUid !== undefined && pods !== undefined && !pods.has(ownerUid);
}

/** The pod runs in another sandbox, which is there or has the port's binding. */
function livesElsewhere(local: LocalPort, ownerUid: string | undefined, { local: all, bindings = [] }: SweepView) {
  if (ownerUid === undefined) return false;
  const { sandboxId, containerInterface } = local;
  const beside = all.some(
    other =>
      other.sandboxId !== sandboxId &&
      other.containerInterface === containerInterface &&
      other.ovs?.ownerUid === ownerUid &&
      other.hasLink &&
      other.sandbox === "there",
  );
  const bound = bindings.some(
    ({ binding }) =>
      binding?.ownerUid === ownerUid &&
      binding.sandbox?.interface === containerInterface &&
      binding.sandbox.id !== sandboxId,
  );
  return beside || bound;
}

/** First looks by what they would take away. */
export type PendingRemovals = ReadonlyMap<string, number>;

/** What has looked so for the whole grace period is due; what looks otherwise by now is forgotten. */
export function selectDue(
  actions: readonly DestructiveAction[],
  before: PendingRemovals,
  now: number,
  graceMs: number,
): { due: DestructiveAction[]; suspects: PendingRemovals } {
  const suspects = new Map(actions.map(action => [suspicionOf(action), before.get(suspicionOf(action)) ?? now]));
  const due = actions.filter(action => now - (suspects.get(suspicionOf(action)) ?? now) >= graceMs);
  // At its first look nothing is due, however short the grace: the second look must be another one.
  return { due: due.filter(action => before.has(suspicionOf(action))), suspects };
}

/** The same thing for the same reason: a binding's epoch makes it another. */
function suspicionOf(action: DestructiveAction): string {
  if (action.kind === "unplug") return `unplug ${keyOf(action.local)} ${action.why}`;
  return `release ${action.port.name} ${action.port.id} ${action.port.epoch}`;
}
