import { KubeConfig } from "@kubernetes/client-node";
import { KubeApi } from "../kube/kube-api.ts";
import { readNodeName, readPodView, record } from "../kube/objects.ts";
import type { ClusterPod } from "./compare-cluster.ts";
import { CtlError } from "./ctl-error.ts";

/**
 * Reads all pods of a cluster and the names of its nodes. Rejects with CtlError if the file or the API cannot be read.
 */
export async function fetchCluster(kubeconfig: string): Promise<{ pods: ClusterPod[]; nodes: Set<string> }> {
  const config = new KubeConfig();
  try {
    config.loadFromFile(kubeconfig);
  } catch (error) {
    throw new CtlError("usage", `--kubeconfig ${kubeconfig}: ${messageOf(error)}`, { cause: error });
  }
  try {
    const api = new KubeApi(config);
    const [pods, nodes] = await Promise.all([api.list("/api/v1/pods"), api.list("/api/v1/nodes")]);
    return { pods: pods.items.map(parseClusterPod), nodes: new Set(nodes.items.map(readNodeName)) };
  } catch (error) {
    const advice =
      "Check that the kubeconfig's current context is the cluster, and that its user may list pods and nodes.";
    throw new CtlError("unreachable", `the Kubernetes API: ${messageOf(error)}`, { advice, cause: error });
  }
}

export function parseClusterPod(value: unknown): ClusterPod {
  const { metadata, spec, status } = record(value, "pod");
  const { phase, podIPs, podIP } = record(status ?? {}, "pod.status");
  const listed = Array.isArray(podIPs) ? podIPs.map(each => record(each, "pod.status.podIPs[]").ip) : [podIP];
  return {
    ...readPodView(value),
    isOnHostNetwork: record(spec ?? {}, "pod.spec").hostNetwork === true,
    isEnding: record(metadata, "pod.metadata").deletionTimestamp !== undefined,
    hasEnded: phase === "Succeeded" || phase === "Failed",
    addresses: listed.filter(address => typeof address === "string"),
  };
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
