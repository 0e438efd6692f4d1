import type { Binding, Port, Workload } from "../contract/index.ts";
import { type KubeView, nameKey } from "./kube-view.ts";

/** What to reclaim, and the reason shown to people. */
type ReclaimDecision =
  /** The binding's node no longer runs, so that its agent cannot release the binding itself. */
  | { action: "release"; binding: Binding; reason: string }
  /** The workload needs the sticky port no longer: the IPAM keeps it for its retention's time. */
  | { action: "retire"; need: "deleted" | "scaled"; reason: string }
  /** It needs the port again, before that time has ended. */
  | { action: "restore"; need: "needed"; reason: string };

export interface Reclaim {
  port: Port;
  decision: ReclaimDecision;
}

/** When each suspicion began, in milliseconds; keyed by action, port id and epoch. */
export type SuspectedSince = ReadonlyMap<string, number>;

/** The form of Kubernetes UIDs. Owners of other runtimes have other forms, and the controller leaves them alone. */
const POD_UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * Returns the suspects of this pass, and those that were suspects in every pass of a complete grace period. The latter
 * are due: the caller confirms each with `classifyPort` over a fresh read before it reclaims anything. Pure.
 */
export function decideReclaims(
  ports: Iterable<Port>,
  view: KubeView,
  cluster: string,
  previous: SuspectedSince,
  now: number,
  graceMs: number,
): { suspects: SuspectedSince; due: Reclaim[] } {
  const suspects = new Map<string, number>();
  const due: Reclaim[] = [];
  for (const port of ports) {
    const decision = classifyPort(port, view, cluster);
    if (decision === undefined) continue;
    const key = `${decision.action} ${port.id} ${epochOf(port, decision)}`;
    const since = previous.get(key) ?? now;
    suspects.set(key, since);
    if (now - since >= graceMs) due.push({ port, decision });
  }
  return { suspects, due };
}

/** Of what the decision is about: an INACTIVE binding has an epoch of its own. */
const epochOf = ({ epoch, inactiveBinding }: Port, decision: ReclaimDecision): number =>
  decision.action === "release" && decision.binding === inactiveBinding ? inactiveBinding.epoch : epoch;

/**
 * Decides about one port from one view of Kubernetes:
 *
 * - bound: release if no pod has the owner's UID, and its node does not exist or is out of service. While the node may run,
 *   so may the pod: only the node's agent sees its sandbox, and a claim by the same name may move the binding. The INACTIVE
 *   binding of a migration's target is released by the same rule;
 * - a lease: release if it has expired and its node does not exist or is out of service;
 * - unbound, sticky, without a TTL (the server ends those), neither reserved nor protected (a person deletes those): report whether the
 *   workload named by its last claim needs it, if the port says otherwise;
 * - anything else, and any port for which the view lacks a resource: keep (undefined).
 */
export function classifyPort(port: Port, view: KubeView, cluster: string): ReclaimDecision | undefined {
  const { binding, inactiveBinding, workload } = port;
  if (port.cluster !== cluster) return undefined;
  if (isLease(port)) return binding && classifyLease(port, binding, view);
  if (view.pods === undefined) return undefined;
  if (binding !== undefined || inactiveBinding !== undefined)
    return classifyBinding(port, binding, view) ?? classifyBinding(port, inactiveBinding, view);
  const isKeptForItself = port.retention.policy === "sticky" && port.retention.ttlSeconds === undefined;
  if (!isKeptForItself || port.reservation !== undefined || port.protected || workload === undefined) return undefined;
  const observed = observeNeed(workload, port.slot, view, view.pods.names);
  if (observed === undefined || observed.need === (port.unneeded ?? "needed")) return undefined;
  if (observed.need === "needed") return { action: "restore", need: "needed", reason: observed.reason };
  return { action: "retire", need: observed.need, reason: observed.reason };
}

function classifyBinding(port: Port, binding: Binding | undefined, view: KubeView): ReclaimDecision | undefined {
  if (binding === undefined || view.pods === undefined) return undefined;
  const isPods = port.owner !== undefined && port.owner.kind !== "device" && POD_UID.test(binding.ownerUid);
  if (!isPods || port.namespace === undefined || view.pods.uids.has(binding.ownerUid)) return undefined;
  const stopped = findStoppedNode(binding.host, view);
  if (stopped === undefined) return undefined;
  return { action: "release", binding, reason: `no pod has the UID ${binding.ownerUid}, and ${stopped}` };
}

export const isLease = ({ owner }: Port): boolean => owner?.kind === "lease";

/** Keeps a lease until it expires: a deleted node may still run without a connection, and assigns leased addresses until then. */
function classifyLease({ expiresAt = "" }: Port, binding: Binding, view: KubeView): ReclaimDecision | undefined {
  const stopped = findStoppedNode(binding.host, view);
  if (stopped === undefined || !(Date.parse(expiresAt) < (view.nodes?.at ?? 0))) return undefined;
  return { action: "release", binding, reason: `the lease has ended, and ${stopped}` };
}

/** Returns why the node runs nothing any longer; undefined if it may run. An empty list of nodes proves nothing. */
function findStoppedNode(host: string, { nodes }: KubeView): string | undefined {
  if (nodes === undefined || nodes.names.size === 0) return undefined;
  if (!nodes.names.has(host)) return `there is no node ${host}`;
  return nodes.outOfService.has(host) ? `node ${host} is out of service` : undefined;
}

/** Returns undefined if the view lacks the workload's kind. The name decides, not the UID: a workload may be replaced. */
function observeNeed(
  workload: Workload,
  slot: number | undefined,
  view: KubeView,
  pods: ReadonlySet<string>,
): { need: "needed" | "deleted" | "scaled"; reason: string } | undefined {
  const label = `${workload.kind} ${nameKey(workload)}`;
  const pod = podName(workload);
  // While a pod of that name exists it may still claim the port.
  if (pod !== undefined && pods.has(`${workload.namespace}/${pod}`)) {
    return { need: "needed", reason: `pod ${workload.namespace}/${pod} is there` };
  }
  if (workload.kind === "Pod") return { need: "deleted", reason: `${label} is gone` };
  const listed = view.workloads[workload.kind];
  if (listed === undefined) return undefined;
  const now = listed.get(nameKey(workload));
  if (now === undefined) return { need: "deleted", reason: `${label} is gone` };
  const index = workload.kind === "StatefulSet" ? workload.ordinal : slot;
  if (index === undefined || (index >= now.from && index < now.to)) {
    return { need: "needed", reason: `${label} needs it` };
  }
  const what = workload.kind === "StatefulSet" ? "ordinal" : "slot";
  const asked = now.to > now.from ? `${what}s ${now.from} to ${now.to - 1}` : `no ${what}`;
  return { need: "scaled", reason: `${label} asks for ${asked}, not ${index}` };
}

/**
 * Returns the name of the only pod the port is kept for; undefined for slots, which any pod of the application may get.
 */
function podName(workload: Workload): string | undefined {
  if (workload.kind === "Pod") return workload.name;
  if (workload.kind === "StatefulSet" && workload.ordinal !== undefined) return `${workload.name}-${workload.ordinal}`;
  return undefined;
}
