import type { NameFrom, Owner, Retention } from "../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../ipam-server/contract/port.ts";

/** What is known of the workload that a sandbox belongs to. */
export interface Workload {
  cluster: string;
  containerId: string;
  ifname: string;
  /** Absent where the runtime names no pod: the container then stands for itself. */
  pod?: { namespace: string; name: string; uid?: string };
}

/** Under which name a port is claimed, for whom, and how long it outlives its sandbox. */
export interface PortIdentity {
  name: string;
  nameFrom: NameFrom;
  namespace?: string;
  owner: Owner;
  retention: Retention;
}

/**
 * The port's name is what the workload is, so that it finds its port again wherever it comes back (DESIGN: ports and
 * names): `cluster/namespace/pod`, else `cluster/containers/ID`, and `/ifname` behind it for interfaces other than eth0.
 *
 * @param retention what the network configuration asks for
 * @param now stands for the owner's creation, which only the Kubernetes API knows: of two owners the later caller wins
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
