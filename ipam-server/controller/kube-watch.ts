import type { KubeApi } from "../kube/kube-api.ts";
import type { KubeError } from "../kube/kube-error.ts";
import * as objects from "../kube/objects.ts";
import { Reflector } from "../kube/reflector.ts";
import { indexNodes, indexPods, type KubeView, nameKey, type WatchedKind } from "./kube-view.ts";

interface Source {
  /** The API group's path and the resource. */
  group: string;
  resource: string;
  read(value: unknown): objects.WorkloadView;
  mayBeAbsent?: boolean;
}

const SOURCES: Record<WatchedKind, Source> = {
  StatefulSet: { group: "/apis/apps/v1", resource: "statefulsets", read: objects.readStatefulSet },
  Deployment: { group: "/apis/apps/v1", resource: "deployments", read: objects.readDeployment },
  ReplicaSet: { group: "/apis/apps/v1", resource: "replicasets", read: objects.readReplicaSet },
  VirtualMachine: {
    group: "/apis/kubevirt.io/v1",
    resource: "virtualmachines",
    read: objects.readVirtualMachine,
    mayBeAbsent: true,
  },
};
const KINDS = Object.keys(SOURCES) as WatchedKind[];

const NODES = "/api/v1/nodes";

/** Watches pods, workloads and nodes. Its view may lag; `fetchFreshView` reads the current state. */
export class KubeWatch implements AsyncDisposable {
  readonly #pods: Reflector<objects.PodView>;
  readonly #nodes: Reflector<objects.NodeView>;
  readonly #workloads: [WatchedKind, Reflector<objects.WorkloadView>][];

  constructor(api: Pick<KubeApi, "list" | "listCached" | "watch">, onError?: (error: KubeError) => void) {
    const common = { api, ...(onError && { onError }) };
    this.#pods = new Reflector({
      ...common,
      path: "/api/v1/pods",
      read: objects.readPodView,
      keyOf: findPod => findPod.uid,
    });
    this.#nodes = new Reflector({ ...common, path: NODES, read: objects.readNodeView, keyOf: ({ name }) => name });
    this.#workloads = KINDS.map(kind => {
      const { group, resource, read, mayBeAbsent = false } = SOURCES[kind];
      return [
        kind,
        new Reflector<objects.WorkloadView>({
          ...common,
          path: `${group}/${resource}`,
          read,
          keyOf: nameKey,
          mayBeAbsent,
        }),
      ];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [this.#pods, this.#nodes, ...this.#workloads.map(([, each]) => each)].map(each => each[Symbol.asyncDispose]()),
    );
  }

  /** Returns undefined until pods were listed, and if no pod has this UID. */
  pod(uid: string): objects.PodView | undefined {
    return this.#pods.items?.get(uid);
  }

  view(): KubeView {
    const pods = this.#pods.items;
    const listed = this.#workloads.flatMap(([kind, { items }]) =>
      items === undefined ? [] : [[kind, items] as const],
    );
    const nodes = this.#nodes.items;
    return {
      // This controller is a pod: a list without any is not the cluster's.
      ...(pods && pods.size > 0 && { pods: indexPods(pods.values()) }),
      ...(nodes && { nodes: indexNodes(nodes.values(), Date.now()) }),
      workloads: Object.fromEntries(listed),
    };
  }
}

/**
 * Reads the requested kinds of one namespace from the API. Pods are read last, so that a pod created in between is
 * included. Rejects with KubeError; omits only kinds that are not installed.
 */
export async function fetchFreshView(
  api: Pick<KubeApi, "list">,
  namespace: string,
  kinds: Iterable<WatchedKind>,
  signal: AbortSignal,
): Promise<KubeView> {
  const workloads: KubeView["workloads"] = {};
  const scope = `namespaces/${encodeURIComponent(namespace)}`;
  for (const kind of kinds) {
    const { group, resource, read, mayBeAbsent } = SOURCES[kind];
    try {
      const { items } = await api.list(`${group}/${scope}/${resource}`, signal);
      workloads[kind] = new Map(items.map(read).map(item => [nameKey(item), item]));
    } catch (error) {
      if (!(mayBeAbsent && (error as KubeError).status === 404)) throw error;
    }
  }
  const { items } = await api.list(`/api/v1/${scope}/pods`, signal);
  return { pods: indexPods(items.map(objects.readPodView)), workloads };
}

/** Reads all nodes from the API. Rejects with KubeError. */
export async function fetchFreshNodes(api: Pick<KubeApi, "list">, signal: AbortSignal): Promise<KubeView> {
  const { items } = await api.list(NODES, signal);
  return { nodes: indexNodes(items.map(objects.readNodeView), Date.now()), workloads: {} };
}
