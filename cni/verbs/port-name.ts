import type { NameFrom, Owner, Retention } from "../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../ipam-server/contract/port.ts";

/** The workload of a sandbox, as far as the runtime names it. */
export interface Workload {
  cluster: string;
  containerId: string;
  ifname: string;
  /** Absent if the runtime names no pod: the port then belongs to the container. */
  pod?: { namespace: string; name: string; uid?: string };
}

/** A port's name and owner, and how long the port outlives its sandbox. */
export interface PortIdentity {
  name: string;
  nameFrom: NameFrom;
  namespace?: string;
  owner: Owner;
  retention: Retention;
}

/**
 * Names the port after its workload, so that the workload finds it again on any host: `cluster/namespace/pod`, else
 * `cluster/containers/ID`, followed by `/ifname` for interfaces other than `eth0`.
 *
 * @param retention the network configuration's
 * @param now stands for the owner's creation time, which only the Kubernetes API has: of two owners the later caller wins
 */
export function derivePort(workload: Workload, retention: Retention, now: Date): PortIdentity {
  const { cluster, containerId, ifname, pod } = workload;
  const base = pod === undefined ? `${cluster}/containers/${containerId}` : `${cluster}/${pod.namespace}/${pod.name}`;
  return {
    name: ifname === DEFAULT_INTERFACE ? base : `${base}/${ifname}`,
    nameFrom: "pod",
    ...(pod !== undefined && { namespace: pod.namespace }),
    owner: { kind: "pod", uid: pod?.uid ?? containerId, createdAt: now.toISOString() },
    retention,
  };
}
