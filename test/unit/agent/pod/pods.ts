/** Pods in the format of the Kubernetes API, for tests of what is derived from them. */
export interface PodShape {
  name?: string;
  namespace?: string;
  uid?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  owner?: { apiVersion: string; kind: string; name: string; uid?: string; controller?: boolean };
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
  metadata?: Record<string, unknown>;
}

export function podObject(shape: PodShape = {}): Record<string, unknown> {
  const { owner } = shape;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: shape.name ?? "web-0",
      namespace: shape.namespace ?? "shop",
      uid: shape.uid ?? "8e5c0000-0000-4000-8000-000000000001",
      creationTimestamp: "2026-11-20T08:00:00Z",
      resourceVersion: "77",
      ...(shape.labels && { labels: shape.labels }),
      ...(shape.annotations && { annotations: shape.annotations }),
      ...(owner && { ownerReferences: [{ controller: true, blockOwnerDeletion: true, uid: "owner-uid", ...owner }] }),
      ...shape.metadata,
    },
    spec: { nodeName: "node-a", containers: [], ...shape.spec },
    status: { phase: "Pending", ...shape.status },
  };
}

export function namespaceObject(annotations?: Record<string, string>, name = "shop"): Record<string, unknown> {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name, namespace: "", uid: "ns-uid", ...(annotations && { annotations }) },
  };
}

export const STATEFUL_SET = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web" };
export const REPLICA_SET = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-7d9c5b" };
export const VIRTUAL_MACHINE = { apiVersion: "kubevirt.io/v1", kind: "VirtualMachineInstance", name: "db1" };
