import { KubeError } from "./kube-error.ts";

/**
 * The edge to the Kubernetes API: what the controller reads of its objects, checked. An object that is not as
 * documented is an error, never an absent object: absence is what frees addresses.
 */
export interface PodView {
  namespace: string;
  name: string;
  uid: string;
  nodeName?: string;
}

/** A workload and the ordinals (StatefulSet) or slots (Deployment, ReplicaSet) it asks for: `from` up to before `to`. */
export interface WorkloadView {
  namespace: string;
  name: string;
  uid: string;
  from: number;
  to: number;
}

export interface ListPage {
  items: unknown[];
  resourceVersion: string;
  /** There is more; absent: this was the last page. */
  next?: string;
}

export type WatchEvent =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: unknown; resourceVersion: string }
  | { type: "BOOKMARK"; resourceVersion: string };

export function readPodView(value: unknown): PodView {
  const { spec } = record(value, "pod");
  const nodeName = spec === undefined ? undefined : record(spec, "pod.spec").nodeName;
  return { ...readIdentity(value, "pod"), ...(typeof nodeName === "string" && nodeName !== "" && { nodeName }) };
}

export interface NodeView {
  name: string;
  /** A person or a controller says that it is shut down: its pods run no longer. */
  isOutOfService: boolean;
}

/** The taint of a non-graceful shutdown (Kubernetes 1.28; beta in 1.26). */
const OUT_OF_SERVICE = "node.kubernetes.io/out-of-service";

export function readNodeView(value: unknown): NodeView {
  const { taints = [] } = record(record(value, "node").spec ?? {}, "node.spec");
  if (!Array.isArray(taints)) throw malformed("node.spec.taints", "a list");
  const isOutOfService = taints.some(taint => record(taint, "node.spec.taints").key === OUT_OF_SERVICE);
  return { name: readNodeName(value), isOutOfService };
}

export function readNodeName(value: unknown): string {
  return text(record(record(value, "node").metadata, "node.metadata").name, "node.metadata.name");
}

/** `spec.ordinals.start` since Kubernetes 1.26; before, ordinals start at 0. */
export function readStatefulSet(value: unknown): WorkloadView {
  const spec = record(record(value, "statefulset").spec, "statefulset.spec");
  const ordinals = spec.ordinals === undefined ? {} : record(spec.ordinals, "statefulset.spec.ordinals");
  const from = count(ordinals.start ?? 0, "statefulset.spec.ordinals.start");
  const to = from + count(spec.replicas ?? 1, "statefulset.spec.replicas");
  return { ...readIdentity(value, "statefulset"), from, to };
}

/**
 * A rolling update needs slots for its surge pods. They are kept between rollouts, so that the application's set of
 * addresses is the same in each.
 */
export function readDeployment(value: unknown): WorkloadView {
  const spec = record(record(value, "deployment").spec, "deployment.spec");
  const replicas = count(spec.replicas ?? 1, "deployment.spec.replicas");
  const strategy = spec.strategy === undefined ? {} : record(spec.strategy, "deployment.spec.strategy");
  const rolling = record(strategy.rollingUpdate ?? {}, "deployment.spec.strategy.rollingUpdate");
  const surge = strategy.type === "Recreate" ? 0 : resolveSurge(rolling.maxSurge ?? "25%", replicas);
  return { ...readIdentity(value, "deployment"), from: 0, to: replicas + surge };
}

export function readReplicaSet(value: unknown): WorkloadView {
  const spec = record(record(value, "replicaset").spec, "replicaset.spec");
  return { ...readIdentity(value, "replicaset"), from: 0, to: count(spec.replicas ?? 1, "replicaset.spec.replicas") };
}

export function readVirtualMachine(value: unknown): WorkloadView {
  return { ...readIdentity(value, "virtualmachine"), from: 0, to: Number.POSITIVE_INFINITY };
}

export function readListPage(value: unknown, path: string): ListPage {
  const list = record(value, path);
  const metadata = record(list.metadata, `${path}: metadata`);
  if (!Array.isArray(list.items) && list.items !== null) throw malformed(`${path}: items`, "a list");
  const next = metadata.continue;
  return {
    items: list.items ?? [],
    resourceVersion: text(metadata.resourceVersion, `${path}: metadata.resourceVersion`),
    ...(typeof next === "string" && next !== "" && { next }),
  };
}

export function readWatchEvent(value: unknown, path: string): WatchEvent {
  const event = record(value, `watch ${path}`);
  const object = record(event.object, `watch ${path}: object`);
  if (event.type === "ERROR") {
    const code = typeof object.code === "number" ? object.code : 500;
    throw new KubeError(code, `watch ${path}: ${String(object.message ?? object.reason ?? "ended by the server")}`);
  }
  const resourceVersion = text(record(object.metadata, "object.metadata").resourceVersion, "metadata.resourceVersion");
  if (event.type === "BOOKMARK") return { type: "BOOKMARK", resourceVersion };
  if (event.type === "ADDED" || event.type === "MODIFIED" || event.type === "DELETED") {
    return { type: event.type, object, resourceVersion };
  }
  throw malformed(`watch ${path}: type`, "a kind of event that Kubernetes documents");
}

/** What went wrong, from the Status object that the API answers errors with. */
export function readStatusMessage(body: string, status: number): string {
  try {
    const { message } = record(JSON.parse(body), "status");
    if (typeof message === "string" && message !== "") return message;
  } catch {
    // Not a Status: a proxy's page, or nothing. The HTTP status says what there is to say.
  }
  return `HTTP ${status}`;
}

function readIdentity(value: unknown, kind: string): { namespace: string; name: string; uid: string } {
  const metadata = record(record(value, kind).metadata, `${kind}.metadata`);
  return {
    namespace: text(metadata.namespace, `${kind}.metadata.namespace`),
    name: text(metadata.name, `${kind}.metadata.name`),
    uid: text(metadata.uid, `${kind}.metadata.uid`),
  };
}

/** Kubernetes rounds a percentage of surge up. */
function resolveSurge(value: unknown, replicas: number): number {
  const percent = typeof value === "string" ? /^(\d{1,9})%$/.exec(value)?.[1] : undefined;
  if (percent !== undefined) return Math.ceil((Number(percent) * replicas) / 100);
  return count(value, "deployment.spec.strategy.rollingUpdate.maxSurge");
}

export function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(field, "an object");
  return value as Record<string, unknown>;
}

export function text(value: unknown, field: string): string {
  if (typeof value !== "string" || value === "") throw malformed(field, "a non-empty string");
  return value;
}

function count(value: unknown, field: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw malformed(field, "a whole number");
  return value;
}

function malformed(field: string, expected: string): KubeError {
  return new KubeError(0, `the Kubernetes API gave an object whose ${field} is not ${expected}`);
}
