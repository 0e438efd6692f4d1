import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { Reflector } from "../../../ipam-server/kube/reflector.ts";
import { type Namespace, type Pod, readNamespace, readPod } from "./pod.ts";

/** A pod of this node. */
export interface NodePod extends Pod {
  /** Pending and without a container that has run: its sandbox may not exist yet. */
  waiting: boolean;
}

export type PodChange = { type: "present" | "gone"; pod: NodePod };

interface PodSourceOptions {
  api: Pick<KubeApi, "get" | "list" | "watch">;
  nodeName: string;
  onError?(error: KubeError): void;
}

/** The pods of this node and all namespaces: a watched cache, and reads from the API server. */
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
      onChange: (type, pod) => this.#notify({ type, pod }),
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

  /** By UID, from the watch, which may lag. Undefined before the first list. */
  get items(): ReadonlyMap<string, NodePod> | undefined {
    return this.#pods.items;
  }

  /** Seconds since the last event of the watch; about one a minute arrives on a healthy watch. */
  get lastEventAgeSeconds(): number {
    const { lastEventAt } = this.#pods;
    return lastEventAt === undefined ? Number.POSITIVE_INFINITY : (Date.now() - lastEventAt) / 1000;
  }

  /** Calls back for each existing pod and each later change, until disposed of. */
  subscribe(listener: (change: PodChange) => void): Disposable {
    this.#listeners.add(listener);
    for (const pod of this.#pods.items?.values() ?? []) listener({ type: "present", pod });
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #notify(change: PodChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  /** Lists all pods of this node from the API server. Rejects with KubeError. */
  async fetchAll(signal?: AbortSignal): Promise<NodePod[]> {
    const { items } = await this.#options.api.list(this.#path, signal);
    return items.map(readNodePod);
  }

  /**
   * Returns the pod from the watch, or else reads it. Returns undefined if the API server has no such pod, or one of
   * another UID. Rejects with KubeError if the read fails.
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

  /** Returns the namespace from the watch, or else reads it. A missing namespace has no annotations. */
  async namespace(name: string): Promise<Namespace> {
    const watched = this.#namespaces.items?.get(name);
    if (watched !== undefined) return watched;
    const found = await this.#read(`/api/v1/namespaces/${encodeURIComponent(name)}`);
    return found === undefined ? { name, annotations: {} } : readNamespace(found);
  }

  #watched(namespace: string, name: string, uid: string | undefined): NodePod | undefined {
    // Without a UID the watch may have an earlier pod of the same name.
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

/** Throws as `readPod` does. */
export function readNodePod(value: unknown): NodePod {
  const pod = readPod(value);
  const { status } = value as { status?: { phase?: unknown; containerStatuses?: unknown } | null };
  const containers = Array.isArray(status?.containerStatuses) ? status.containerStatuses : [];
  const hasRun = containers.some(
    each => each?.state?.running ?? each?.state?.terminated ?? each?.lastState?.terminated,
  );
  return { ...pod, waiting: (status?.phase ?? "Pending") === "Pending" && !hasRun };
}
