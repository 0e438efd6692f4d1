import type { Finding } from "../client/client.ts";
import type { Port } from "../contract/index.ts";

/** The fields of a pod that the comparison uses. */
export interface ClusterPod {
  namespace: string;
  name: string;
  uid: string;
  nodeName?: string;
  isOnHostNetwork: boolean;
  /** It has a deletion timestamp; its address may be released already. */
  isEnding: boolean;
  /** Succeeded or failed, so it has no sandbox. */
  hasEnded: boolean;
  /** As reported by the kubelet; empty without a sandbox. */
  addresses: string[];
}

/**
 * Compares both ways: every binding has its pod on the binding's host, every pod with an address has a binding that
 * holds it, no two pods share an address unless a machine migrates between them, and every lease has its node. Ignores the
 * bindings of devices and machines, and ports of other clusters. Pure.
 */
export function compareCluster(
  ports: readonly Port[],
  pods: readonly ClusterPod[],
  nodes: ReadonlySet<string>,
  cluster: string,
): Finding[] {
  const all = ports.filter(port => port.cluster === cluster);
  const ours = all.filter(({ owner }) => (owner?.kind ?? "pod") === "pod");
  const targets = new Set(all.map(({ inactiveBinding }) => inactiveBinding?.ownerUid));
  return [
    ...findLeasesWithoutNode(all, nodes),
    ...findBindingsWithoutPod(ours, new Map(pods.map(pod => [pod.uid, pod]))),
    ...findPodsWithoutBinding(all, pods.filter(isPlugged)),
    ...findSharedAddresses(pods.filter(pod => isPlugged(pod) && !pod.isEnding && !targets.has(pod.uid))),
  ];
}

const isPlugged = (pod: ClusterPod) => !pod.isOnHostNetwork && !pod.hasEnded && pod.addresses.length > 0;
const nameOf = (pod: ClusterPod) => `pod ${pod.namespace}/${pod.name}`;

function findBindingsWithoutPod(ports: readonly Port[], pods: ReadonlyMap<string, ClusterPod>): Finding[] {
  return ports.flatMap(({ name, binding, inactiveBinding, retention }) => {
    const where = `port ${name}`;
    if (binding === undefined) {
      return retention.policy === "ephemeral" && inactiveBinding === undefined
        ? [{ where, what: "exists, though ephemeral and not bound" }]
        : [];
    }
    const pod = pods.get(binding.ownerUid);
    const bound = `is bound on ${binding.host} to ${binding.ownerUid}`;
    if (pod === undefined) return [{ where, what: `${bound}, but no pod has this UID` }];
    if (pod.hasEnded) return [{ where, what: `${bound}: ${nameOf(pod)}, which has ended` }];
    if (pod.nodeName === binding.host) return [];
    return [{ where, what: `${bound}: ${nameOf(pod)}, which is on ${pod.nodeName ?? "no node"}` }];
  });
}

function findLeasesWithoutNode(ports: readonly Port[], nodes: ReadonlySet<string>): Finding[] {
  return ports.flatMap(({ name, owner, binding, expiresAt }) => {
    if (owner?.kind !== "lease" || binding === undefined || nodes.has(binding.host)) return [];
    const what = `is leased to ${binding.host} until ${expiresAt}, but the cluster has no such node`;
    return [{ where: `port ${name}`, what }];
  });
}

function findPodsWithoutBinding(ports: readonly Port[], pods: readonly ClusterPod[]): Finding[] {
  const bound = Map.groupBy(
    ports.flatMap(port =>
      [port.binding, port.inactiveBinding].flatMap(binding => (binding ? [{ port, binding }] : [])),
    ),
    ({ binding }) => binding.ownerUid,
  );
  return pods.flatMap(pod => {
    const podPorts = bound.get(pod.uid)?.map(({ port }) => port);
    // DEL may already have released the binding of a terminating pod.
    if (podPorts === undefined && pod.isEnding) return [];
    const has = `has ${pod.addresses.join(", ")}`;
    if (podPorts === undefined) return [{ where: nameOf(pod), what: `${has}, but no port is bound to it` }];
    const held = new Set(podPorts.flatMap(port => port.fixedIps.map(({ address }) => address)));
    if (pod.addresses.every(address => held.has(address))) return [];
    return [{ where: nameOf(pod), what: `${has}, but its port holds ${[...held].join(", ")}` }];
  });
}

function findSharedAddresses(pods: readonly ClusterPod[]): Finding[] {
  const holders = Map.groupBy(
    pods.flatMap(pod => pod.addresses.map(address => ({ address, pod }))),
    ({ address }) => address,
  );
  return [...holders]
    .filter(([, each]) => each.length > 1)
    .map(([address, each]) => ({
      where: `address ${address}`,
      what: `is used by ${each.map(({ pod }) => nameOf(pod)).join(" and ")}`,
    }));
}
