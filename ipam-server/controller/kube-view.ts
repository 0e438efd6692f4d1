import type { Workload } from "../contract/index.ts";
import type { NodeView, PodView, WorkloadView } from "../kube/objects.ts";

export type WatchedKind = Exclude<Workload["kind"], "Pod">;

/**
 * The state of Kubernetes from one read. An absent resource was not read (not listed yet, an API error, a CRD that is
 * not installed), and nothing is reclaimed because of it. A map that is present is complete.
 */
export interface KubeView {
  pods?: PodIndex;
  nodes?: NodeIndex;
  /** By `namespace/name`. */
  workloads: Partial<Record<WatchedKind, ReadonlyMap<string, WorkloadView>>>;
}

interface PodIndex {
  uids: ReadonlySet<string>;
  /** `namespace/name`. */
  names: ReadonlySet<string>;
}

interface NodeIndex {
  names: ReadonlySet<string>;
  outOfService: ReadonlySet<string>;
  /** When they were read, on this machine's clock (milliseconds since 1970). */
  at: number;
}

export const nameKey = (item: { namespace: string; name: string }): string => `${item.namespace}/${item.name}`;

export function indexPods(pods: Iterable<PodView>): PodIndex {
  const index = { uids: new Set<string>(), names: new Set<string>() };
  for (const pod of pods) {
    index.uids.add(pod.uid);
    index.names.add(nameKey(pod));
  }
  return index;
}

export function indexNodes(nodes: Iterable<NodeView>, at: number): NodeIndex {
  const index = { names: new Set<string>(), outOfService: new Set<string>(), at };
  for (const { name, isOutOfService } of nodes) {
    index.names.add(name);
    if (isOutOfService) index.outOfService.add(name);
  }
  return index;
}
