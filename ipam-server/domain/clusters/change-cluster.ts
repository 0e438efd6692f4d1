import { type Cluster, type ClusterRegistration, IpamError } from "../../contract/index.ts";
import { toTimestamp } from "../model/port-record.ts";
import type { NewEvent } from "../model/snapshot.ts";

export type ClusterChange =
  | { kind: "register"; registration: ClusterRegistration }
  | { kind: "confirm"; pass: string }
  /** The name becomes free for another cluster. */
  | { kind: "remove" };

/** `after` undefined: no such cluster any longer. No event: nothing has changed. */
export interface PlannedChange {
  after: Cluster | undefined;
  event: NewEvent | undefined;
}

/** How long a confirmed pass may run: enough for a controller that restarts, too short to be forgotten. */
const CONFIRMED_MS = 10 * 60_000;

/** Plans a change over all clusters. Pure. Throws `conflict`, or `not_found` for a name that is not registered. */
export function planClusterChange(
  name: string,
  change: ClusterChange,
  clusters: readonly Cluster[],
  now: number,
  caller: string,
): PlannedChange {
  const before = clusters.find(cluster => cluster.name === name);
  if (change.kind === "register") return register(name, change.registration, before, clusters, now, caller);
  if (!before) throw clusterNotFound(name);
  if (change.kind === "remove") return { after: undefined, event: { type: "cluster.removed", caller, cluster: name } };
  return confirm(before, change.pass, now, caller);
}

export function clusterNotFound(name: string): IpamError {
  return new IpamError("not_found", `no cluster is registered as ${name}; see mooringctl get clusters`);
}

function register(
  name: string,
  { uid, heldPass }: ClusterRegistration,
  before: Cluster | undefined,
  clusters: readonly Cluster[],
  now: number,
  caller: string,
): PlannedChange {
  if (before && before.uid !== uid) {
    throw new IpamError(
      "conflict",
      `the name ${name} belongs to the Kubernetes cluster whose kube-system has the UID ${before.uid}, since ${before.registeredAt}; this cluster's is ${uid}. ` +
        `Give each cluster its own name: the line cluster=NAME of its kustomization.yaml. If ${name} is retired: mooringctl purge cluster ${name}`,
      { field: "uid" },
    );
  }
  const namesake = clusters.find(cluster => cluster.uid === uid && cluster.name !== name);
  if (namesake) {
    throw new IpamError(
      "conflict",
      `this Kubernetes cluster is registered as ${namesake.name}, since ${namesake.registeredAt}, not as ${name}: a cluster's name never changes. ` +
        `Set the line cluster=${namesake.name} of its kustomization.yaml, or remove that cluster first: mooringctl purge cluster ${namesake.name}`,
      { field: "name" },
    );
  }
  const base = before ?? { name, uid, registeredAt: toTimestamp(now) };
  if (heldPass === undefined) {
    const event: NewEvent = {
      type: "cluster.registered",
      caller,
      cluster: name,
      message: `kube-system has UID ${uid}`,
    };
    return { after: base, event: before ? undefined : event };
  }
  const { heldPass: held, ...free } = base;
  if (heldPass === null) {
    if (before && !held) return { after: before, event: undefined };
    const message = held ? `pass ${held.id} is no longer held` : `kube-system has UID ${uid}`;
    return { after: free, event: { type: "cluster.registered", caller, cluster: name, message } };
  }
  if (held?.id === heldPass.id) return { after: base, event: undefined };
  const { id, releases, deletions, ports } = heldPass;
  const message = `pass ${id} would release ${releases} bindings and delete ${deletions} of ${ports} ports: it waits for mooringctl confirm ${name} ${id}`;
  const after = { ...free, heldPass: { id, releases, deletions, ports, heldAt: toTimestamp(now) } };
  return { after, event: { type: "cluster.held", caller, cluster: name, message } };
}

function confirm(before: Cluster, pass: string, now: number, caller: string): PlannedChange {
  const { name, heldPass } = before;
  if (!heldPass) throw new IpamError("conflict", `no pass of cluster ${name} is held: nothing to confirm`);
  if (heldPass.id !== pass) {
    throw new IpamError(
      "conflict",
      `cluster ${name} holds pass ${heldPass.id}, not ${pass}: what it would end has changed; look again with mooringctl get clusters`,
      { field: "pass" },
    );
  }
  const confirmedUntil = toTimestamp(now + CONFIRMED_MS);
  const message = `pass ${pass} may run until ${confirmedUntil}`;
  return {
    after: { ...before, heldPass: { ...heldPass, confirmedUntil } },
    event: { type: "cluster.confirmed", caller, cluster: name, message },
  };
}

/** Returns the cluster as callers see it: a confirmation that has ended is none. */
export function toCurrent(cluster: Cluster, now: number): Cluster {
  const { heldPass } = cluster;
  if (heldPass?.confirmedUntil === undefined || Date.parse(heldPass.confirmedUntil) > now) return cluster;
  const { confirmedUntil: _, ...unconfirmed } = heldPass;
  return { ...cluster, heldPass: unconfirmed };
}
