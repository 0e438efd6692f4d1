import { IpamError, type Labels } from "../../../ipam-server/contract/index.ts";

/** The controller among a pod's owner references (`controller: true`); there is at most one. */
interface ControllerRef {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
}

/** The validated fields of a pod that Mooring uses. */
export interface Pod {
  namespace: string;
  name: string;
  /** The prefix that the API server generated the name from. */
  generateName?: string;
  /** The UID that the kubelet uses (K8S_POD_UID). For a static pod it differs from its mirror's UID. */
  uid: string;
  /** RFC 3339, in seconds as the API server sets it. */
  createdAt: string;
  labels: Labels;
  annotations: Record<string, string>;
  controller?: ControllerRef;
  /** Set once the pod is scheduled. */
  nodeName?: string;
  hostNetwork: boolean;
  /** Its deletion was requested; it may still run. */
  deleting: boolean;
  /** Succeeded or Failed: its sandbox is or will be removed for good. */
  finished: boolean;
}

export interface Namespace {
  name: string;
  annotations: Record<string, string>;
}

/** The condition of pods whose address Mooring watches over. Set only once it is False. */
export const ADDRESS_CONDITION = "mooring.dev/Address";

export const podPath = (namespace: string, name: string): string =>
  `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;

/** A static pod's mirror carries the kubelet's UID of the pod in this annotation. */
const MIRROR_UID = "kubernetes.io/config.hash";
const MIRROR_MARK = "kubernetes.io/config.mirror";

/** Throws IpamError `internal`, which names the field, if the object is not a valid pod. */
export function readPod(value: unknown): Pod {
  const metadata = record(record(value, "pod").metadata, "pod.metadata");
  const spec = optionalRecord(record(value, "pod").spec, "pod.spec");
  const status = optionalRecord(record(value, "pod").status, "pod.status");
  const annotations = stringMap(metadata.annotations, "pod.metadata.annotations");
  const uid = text(metadata.uid, "pod.metadata.uid");
  const controller = readController(metadata.ownerReferences);
  const nodeName = spec.nodeName;
  const { generateName } = metadata;
  return {
    namespace: text(metadata.namespace, "pod.metadata.namespace"),
    name: text(metadata.name, "pod.metadata.name"),
    ...(typeof generateName === "string" && generateName !== "" && { generateName }),
    uid: annotations[MIRROR_MARK] === undefined ? uid : (annotations[MIRROR_UID] ?? uid),
    createdAt: time(metadata.creationTimestamp, "pod.metadata.creationTimestamp"),
    labels: stringMap(metadata.labels, "pod.metadata.labels"),
    annotations,
    ...(controller && { controller }),
    ...(typeof nodeName === "string" && nodeName !== "" && { nodeName }),
    hostNetwork: spec.hostNetwork === true,
    deleting: metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null,
    finished: status.phase === "Succeeded" || status.phase === "Failed",
  };
}

export function readNamespace(value: unknown): Namespace {
  const metadata = record(record(value, "namespace").metadata, "namespace.metadata");
  return {
    name: text(metadata.name, "namespace.metadata.name"),
    annotations: stringMap(metadata.annotations, "namespace.metadata.annotations"),
  };
}

/** True if the pod will get a sandbox with its own netns on this node. False proves nothing about a port it has. */
export function needsPort(pod: Pod, node: string): boolean {
  return pod.nodeName === node && !pod.hostNetwork && !pod.deleting && !pod.finished;
}

function readController(value: unknown): ControllerRef | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw malformed("pod.metadata.ownerReferences", "a list");
  for (const [index, item] of value.entries()) {
    const field = `pod.metadata.ownerReferences[${index}]`;
    const reference = record(item, field);
    if (reference.controller !== true) continue;
    return {
      apiVersion: text(reference.apiVersion, `${field}.apiVersion`),
      kind: text(reference.kind, `${field}.kind`),
      name: text(reference.name, `${field}.name`),
      uid: text(reference.uid, `${field}.uid`),
    };
  }
  return undefined;
}

function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(field, "an object");
  return value as Record<string, unknown>;
}

function optionalRecord(value: unknown, field: string): Record<string, unknown> {
  return value === undefined || value === null ? {} : record(value, field);
}

function text(value: unknown, field: string): string {
  if (typeof value !== "string" || value === "") throw malformed(field, "a non-empty string");
  return value;
}

/** Accepts a Date of a client library, or the string of plain JSON. */
function time(value: unknown, field: string): string {
  const parsed = value instanceof Date ? value : new Date(text(value, field));
  if (Number.isNaN(parsed.getTime())) throw malformed(field, "a time");
  return parsed.toISOString();
}

function stringMap(value: unknown, field: string): Record<string, string> {
  const entries = Object.entries(optionalRecord(value, field));
  for (const [key, item] of entries) if (typeof item !== "string") throw malformed(`${field}[${key}]`, "a string");
  return Object.fromEntries(entries) as Record<string, string>;
}

function malformed(field: string, expected: string): IpamError {
  return new IpamError("internal", `The Kubernetes API gave an object whose ${field} is not ${expected}`, { field });
}
