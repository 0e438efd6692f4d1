import type { KubeApi } from "./kube-api.ts";
import { record, text } from "./objects.ts";

/** Returns the UID of the namespace kube-system, the identity of a Kubernetes cluster. Rejects with KubeError. */
export async function readClusterUid(api: Pick<KubeApi, "get">): Promise<string> {
  const namespace = record(await api.get("/api/v1/namespaces/kube-system"), "namespace");
  return text(record(namespace.metadata, "namespace.metadata").uid, "namespace.metadata.uid");
}
