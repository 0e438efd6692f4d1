import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { Reflector } from "../../../ipam-server/kube/reflector.ts";
import { Namespaces } from "./namespaces.ts";
import { ADDRESS_CONDITION, type Namespace, type Pod, podPath, readPod } from "./pod.ts";

/** A pod of this node. */
export interface NodePod extends Pod {
  /** Pending and without a container that has run: its sandbox may not exist yet. */
  waiting: boolean;
  /** A container runs or has run: its sandbox exists or has existed. */
  hasRun: boolean;
  /** Its condition `mooring.dev/Address` is False. */
  hasAddressFault: boolean;
}

export type PodChange = { type: "present" | "gone"; pod: NodePod };

interface PodSourceOptions {
  api: Pick<KubeApi, "get" | "list" | "listCached" | "watch">;
  nodeName: string;
  onError?(error: KubeError): void;
}

/** Deleted pods whose names are remembered, and reads by name above which one list is cheaper. */
const REMEMBERED = 1024;
const MANY = 20;

/** Covers the time from a pod's appearance to its ADD. A retry after an annotation was corrected comes later. */
const NAMESPACE_AGE_MS = 5000;

/** The pods of this node and their namespaces: a watched cache, and reads from the API server. */
export class PodSource implements AsyncDisposable {
  readonly #options: PodSourceOptions;
  readonly #listeners = new Set<(change: PodChange) => void>();
  readonly #pods: Reflector<NodePod>;
  readonly #namespaces: Namespaces;
  /** When the watch first had each pod, by UID. */
  readonly #seenAt = new Map<string, number>();
  /** Pods that the watch reported as gone, by UID. */
  readonly #gone = new Map<string, Pick<Pod, "namespace" | "name">>();

  constructor(options: PodSourceOptions) {
    this.#options = options;
    const { api, onError } = options;
    this.#namespaces = new Namespaces(api);
    this.#pods = new Reflector<NodePod>({
      api,
      path: this.#path,
      isSmall: true,
      read: readNodePod,
      keyOf: pod => pod.uid,
      onChange: (type, pod) => this.#handleChange({ type, pod }),
      ...(onError && { onError }),
    });
  }

  get #path(): string {
    return `/api/v1/pods?fieldSelector=${encodeURIComponent(`spec.nodeName=${this.#options.nodeName}`)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pods[Symbol.asyncDispose]();
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

  #handleChange(change: PodChange): void {
    const { type, pod } = change;
    if (type === "gone") this.#rememberGone(pod);
    else if (!this.#seenAt.has(pod.uid)) {
      this.#seenAt.set(pod.uid, performance.now());
      if (!pod.hostNetwork && !pod.finished) this.#namespaces.prepare(pod.namespace);
    }
    for (const listener of this.#listeners) listener(change);
  }

  #rememberGone({ uid, namespace, name }: NodePod): void {
    this.#seenAt.delete(uid);
    this.#gone.set(uid, { namespace, name });
    if (this.#gone.size > REMEMBERED) this.#gone.delete(this.#gone.keys().next().value ?? "");
  }

  /**
   * Reads the pods of these UIDs past every cache, and returns those that exist by UID. Reads each by its name if the watch
   * has had them all, else lists the pods of this node. Rejects with KubeError.
   */
  async fetch(uids: ReadonlySet<string>): Promise<Map<string, NodePod>> {
    const names = Array.from(uids, uid => this.#pods.items?.get(uid) ?? this.#gone.get(uid));
    const named = names.filter(each => each !== undefined);
    const isEachNamed = named.length === names.length && names.length <= MANY;
    const found = isEachNamed
      ? await Promise.all(named.map(({ namespace, name }) => this.#read(podPath(namespace, name))))
      : (await this.#options.api.list(this.#path)).items;
    const pods = found.filter(each => each !== undefined).map(readNodePod);
    return new Map(pods.filter(({ uid }) => uids.has(uid)).map(pod => [pod.uid, pod]));
  }

  /**
   * Returns the pod from the watch, or else reads it. Returns undefined if the API server has no such pod, or one of
   * another UID. Rejects with KubeError if the read fails.
   */
  async find(namespace: string, name: string, uid: string | undefined): Promise<NodePod | undefined> {
    const watched = this.#watched(namespace, name, uid);
    if (watched !== undefined) return watched;
    const found = await this.#read(podPath(namespace, name));
    if (found === undefined) return undefined;
    const pod = readNodePod(found);
    return uid === undefined || pod.uid === uid ? pod : undefined;
  }

  /** Returns the pod's namespace, read a moment ago and since the pod exists. See `Namespaces.find`. */
  namespaceOf({ uid, namespace }: NodePod): Promise<Namespace> {
    const now = performance.now();
    return this.#namespaces.find(namespace, Math.min(NAMESPACE_AGE_MS, now - (this.#seenAt.get(uid) ?? now)));
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
  const { status } = value as { status?: Record<string, unknown> | null };
  const { phase = "Pending", containerStatuses, initContainerStatuses, conditions } = status ?? {};
  const containers = [containerStatuses, initContainerStatuses].filter(Array.isArray).flat();
  const hasContainer = containers.some(
    each => each?.state?.running ?? each?.state?.terminated ?? each?.lastState?.terminated,
  );
  const hasRun = Boolean(hasContainer) || phase === "Running";
  const hasAddressFault =
    Array.isArray(conditions) && conditions.some(each => each?.type === ADDRESS_CONDITION && each.status === "False");
  return { ...pod, waiting: phase === "Pending" && !hasRun, hasRun, hasAddressFault };
}
