import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { Reflector } from "../../../ipam-server/kube/reflector.ts";
import { type Namespace, type Pod, readNamespace, readPod } from "./pod.ts";

/** A pod of this node, and whether it still waits for its first container. */
export interface NodePod extends Pod {
  /** Pending, and none of its containers has run: its sandbox may be yet to come. */
  waiting: boolean;
}

export type PodChange = { type: "present" | "gone"; pod: NodePod };

export interface PodSourceOptions {
  api: Pick<KubeApi, "get" | "list" | "watch">;
  nodeName: string;
  onError?(error: KubeError): void;
}

/** The pods of this node and the namespaces' annotations: a watched copy, and fresh reads where it does not do. */
export class PodSource implements AsyncDisposable {
  readonly #options: PodSourceOptions;
  readonly #listeners = new Set<(change: PodChange) => void>();
  readonly #pods: Reflector<NodePod>;
  readonly #namespaces: Reflector<Namespace>;

  constructor(options: PodSourceOptions) {
    this.#options = options;
    const { api, onError } = options;
    const common = { api, ...(onError && { onError }) };
    this.#pods = new Reflector<NodePod>({
      ...common,
      path: this.#path,
      read: readNodePod,
      keyOf: pod => pod.uid,
      onChange: (type, pod) => this.#tell({ type, pod }),
    });
    this.#namespaces = new Reflector<Namespace>({
      ...common,
      path: "/api/v1/namespaces",
      read: readNamespace,
      keyOf: ({ name }) => name,
    });
  }

  get #path(): string {
    return `/api/v1/pods?fieldSelector=${encodeURIComponent(`spec.nodeName=${this.#options.nodeName}`)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#pods[Symbol.asyncDispose](), this.#namespaces[Symbol.asyncDispose]()]);
  }

  /** By UID, as the watch has it: it may lag. Undefined before the first whole list. */
  get items(): ReadonlyMap<string, NodePod> | undefined {
    return this.#pods.items;
  }

  /** Seconds since the watch was heard last; a healthy one says something about every minute. */
  get lastEventAgeSeconds(): number {
    const { heardAt } = this.#pods;
    return heardAt === undefined ? Number.POSITIVE_INFINITY : (Date.now() - heardAt) / 1000;
  }

  /** Calls back for each pod there is and for each change from now on, until disposed of. */
  subscribe(listener: (change: PodChange) => void): Disposable {
    this.#listeners.add(listener);
    for (const pod of this.#pods.items?.values() ?? []) listener({ type: "present", pod });
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #tell(change: PodChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  /** All pods of this node as the API server has them now: a whole list, or a rejection with KubeError. */
  async fetchAll(signal?: AbortSignal): Promise<NodePod[]> {
    const { items } = await this.#options.api.list(this.#path, signal);
    return items.map(readNodePod);
  }

  /**
   * The pod from the watch when it is the one asked for, else by one read. Undefined when the API server has no such pod,
   * or one of another UID. Rejects with KubeError when only the API server would know and it does not answer.
   */
  async find(namespace: string, name: string, uid: string | undefined): Promise<NodePod | undefined> {
    const watched = this.#watched(namespace, name, uid);
    if (watched !== undefined) return watched;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    const found = await this.#read(path);
    if (found === undefined) return undefined;
    const pod = readNodePod(found);
    return uid === undefined || pod.uid === uid ? pod : undefined;
  }

  /** From the watch, else by one read: a namespace that is not there has no annotations. */
  async namespace(name: string): Promise<Namespace> {
    const watched = this.#namespaces.items?.get(name);
    if (watched !== undefined) return watched;
    const found = await this.#read(`/api/v1/namespaces/${encodeURIComponent(name)}`);
    return found === undefined ? { name, annotations: {} } : readNamespace(found);
  }

  #watched(namespace: string, name: string, uid: string | undefined): NodePod | undefined {
    // Without a UID a pod of the same name may be the one before: only a read can tell.
    const pod = uid === undefined ? undefined : this.#pods.items?.get(uid);
    return pod?.namespace === namespace && pod.name === name ? pod : undefined;
  }

  async #read(path: string): Promise<unknown> {
    try {
      return await this.#options.api.get(path);
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return undefined;
      throw error;
    }
  }
}

/** Adds to what `readPod` reads whether the pod's first container is yet to run. */
export function readNodePod(value: unknown): NodePod {
  const pod = readPod(value);
  const { status } = value as { status?: { phase?: unknown; containerStatuses?: unknown } | null };
  const containers = Array.isArray(status?.containerStatuses) ? status.containerStatuses : [];
  const hasRun = containers.some(
    each => each?.state?.running ?? each?.state?.terminated ?? each?.lastState?.terminated,
  );
  return { ...pod, waiting: (status?.phase ?? "Pending") === "Pending" && !hasRun };
}
