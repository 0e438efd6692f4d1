import type { Binding, Port, Workload } from "../contract/index.ts";
import { type KubeView, nameKey } from "./kube-view.ts";

/** What to take away and why, for people. */
export type Decision =
  /** The binding's pod, or a lease's node, is no more: nobody will give it back. */
  | { action: "release"; binding: Binding; reason: string }
  /** Nobody asks for the sticky port any longer. */
  | { action: "delete"; reason: string };

export interface Due {
  port: Port;
  verdict: Decision;
}

/** When each suspicion began, in milliseconds; by what is suspected of which life and epoch of a port. */
export type Suspects = ReadonlyMap<string, number>;

/** Only Kubernetes makes UIDs of this form; owners of other runtimes are not the controller's to judge. */
const POD_UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * One pass: who looks gone now, and who has looked gone in every pass of a whole grace period. Those are due: a fresh
 * look (`judgePort` again, over what the API says at this moment) must confirm each before anything is taken away.
 */
export function decideGone(
  ports: Iterable<Port>,
  view: KubeView,
  cluster: string,
  previous: Suspects,
  now: number,
  graceMs: number,
): { suspects: Suspects; due: Due[] } {
  const suspects = new Map<string, number>();
  const due: Due[] = [];
  for (const port of ports) {
    const verdict = classifyPort(port, view, cluster);
    if (verdict === undefined) continue;
    const key = `${verdict.action} ${port.id} ${port.epoch}`;
    const since = previous.get(key) ?? now;
    suspects.set(key, since);
    if (now - since >= graceMs) due.push({ port, verdict });
  }
  return { suspects, due };
}

/**
 * Judges one port by one look at Kubernetes:
 *
 * - bound: to be released when no pod has the owner's UID;
 * - a lease: to be released when its time is over and its node is not there;
 * - unbound, sticky, without a TTL (the server's own) and not reserved (a person's): to be deleted when the workload
 *   that its last claim told of no longer asks for it;
 * - anything else, and everything of which something is not known: kept.
 */
export function classifyPort(port: Port, view: KubeView, cluster: string): Decision | undefined {
  const { binding, workload } = port;
  if (port.cluster !== cluster) return undefined;
  if (isLease(port)) return binding && classifyLease(port, binding, view);
  if (view.pods === undefined) return undefined;
  if (binding !== undefined) {
    const isPods = port.owner !== undefined && port.owner.kind !== "device" && POD_UID.test(binding.ownerUid);
    if (!isPods || port.namespace === undefined || view.pods.uids.has(binding.ownerUid)) return undefined;
    return { action: "release", binding, reason: `no pod has the UID ${binding.ownerUid}` };
  }
  const isKeptForItself = port.retention.policy === "sticky" && port.retention.ttlSeconds === undefined;
  if (!isKeptForItself || port.reservation !== undefined || workload === undefined) return undefined;
  // A pod of the name the port is kept for will claim it, or is about to lose it to nobody: either way not now.
  const pod = podName(workload);
  if (pod !== undefined && view.pods.names.has(`${workload.namespace}/${pod}`)) return undefined;
  const reason = reasonGone(workload, port.slot, view);
  return reason === undefined ? undefined : { action: "delete", reason };
}

export const isLease = ({ owner }: Port): boolean => owner?.kind === "lease";

/**
 * Nobody else may have the address before: a node that this cluster does not know may still be cut off somewhere, and gives
 * away what it was leased until the end. A cluster without any node is a list that says nothing.
 */
function classifyLease({ expiresAt = "" }: Port, binding: Binding, { nodes }: KubeView): Decision | undefined {
  if (nodes === undefined || nodes.names.size === 0 || nodes.names.has(binding.host)) return undefined;
  if (!(Date.parse(expiresAt) < nodes.at)) return undefined;
  return { action: "release", binding, reason: `the lease has ended, and there is no node ${binding.host}` };
}

function reasonGone(workload: Workload, slot: number | undefined, view: KubeView): string | undefined {
  const label = `${workload.kind} ${nameKey(workload)}`;
  if (workload.kind === "Pod") return `${label} is gone`;
  const known = view.workloads[workload.kind];
  if (known === undefined) return undefined;
  const now = known.get(nameKey(workload));
  if (now === undefined) return `${label} is gone`;
  if (workload.uid !== undefined && now.uid !== workload.uid) return `${label} was made again`;
  const place = workload.kind === "StatefulSet" ? workload.ordinal : slot;
  if (place === undefined || (place >= now.from && place < now.to)) return undefined;
  const what = workload.kind === "StatefulSet" ? "ordinal" : "slot";
  const asked = now.to > now.from ? `${what}s ${now.from} to ${now.to - 1}` : `no ${what}`;
  return `${label} asks for ${asked}, not ${place}`;
}

/** The one pod that the port is kept for, where its name is known: slots go to pods of any name. */
function podName(workload: Workload): string | undefined {
  if (workload.kind === "Pod") return workload.name;
  if (workload.kind === "StatefulSet" && workload.ordinal !== undefined) return `${workload.name}-${workload.ordinal}`;
  return undefined;
}
