import { createHash } from "node:crypto";
import type { NameFrom, Owner, Retention } from "../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../ipam-server/contract/port.ts";

const MAX_NAME = 253;

/** The name of a workload's port: every home of the plugin forms it here, so that they find each other's ports. */
export function formatPortName(workload: string, ifname: string): string {
  return shorten(`${workload}${formatInterfaceSuffix(ifname)}`, MAX_NAME);
}

export function formatInterfaceSuffix(ifname: string): string {
  return ifname === DEFAULT_INTERFACE ? "" : `/${formatInterface(ifname)}`;
}

/** The kernel allows more characters in an interface's name than a port's name has: a hash then keeps two apart. */
export function formatInterface(ifname: string): string {
  const readable = ifname.replaceAll(/[^A-Za-z0-9._@-]/g, "_");
  return readable === ifname ? ifname : `${readable.slice(0, 6)}@${hash(ifname).slice(0, 8)}`;
}

/** Replaces the end of a longer name by its hash, because a pod's name alone may have as many characters as a port's. */
export function shorten(name: string, limit: number): string {
  if (name.length <= limit) return name;
  const digest = hash(name).slice(0, 16);
  return `${name.slice(0, limit - digest.length - 1)}@${digest}`;
}

const hash = (text: string): string => createHash("sha256").update(text).digest("hex");

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
    name: formatPortName(base, ifname),
    nameFrom: "pod",
    ...(pod !== undefined && { namespace: pod.namespace }),
    owner: { kind: "pod", uid: pod?.uid ?? containerId, createdAt: now.toISOString() },
    retention,
  };
}
