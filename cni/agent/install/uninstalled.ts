import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { record } from "../../../ipam-server/kube/objects.ts";

export type ResourceState = "there" | "deleting" | "gone" | "refused" | "unknown";

/** What the API says of the agent's DaemonSet and its namespace. */
export interface AgentState {
  daemonSet: ResourceState;
  namespace: ResourceState;
}

const ASK_MS = 5000;

/**
 * Whether an agent that ends is being uninstalled, or only replaced. With its DaemonSet, its service account and rights may
 * be gone, and the API refuses to answer: that says so only to an agent that was answered before.
 */
export function isUninstalled({ daemonSet, namespace }: AgentState, wasAnswered: boolean): boolean {
  if (daemonSet === "deleting" || namespace === "deleting") return true;
  return wasAnswered && (daemonSet === "gone" || daemonSet === "refused" || namespace === "gone");
}

export async function readAgentState(
  api: Pick<KubeApi, "get">,
  { namespace, name }: { namespace: string; name: string },
): Promise<AgentState> {
  const [daemonSet, space] = await Promise.all([
    ask(api, `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets/${encodeURIComponent(name)}`),
    ask(api, `/api/v1/namespaces/${encodeURIComponent(namespace)}`),
  ]);
  return { daemonSet, namespace: space };
}

async function ask(api: Pick<KubeApi, "get">, path: string): Promise<ResourceState> {
  try {
    const { metadata } = record(await api.get(path, undefined, AbortSignal.timeout(ASK_MS)), path);
    return record(metadata, `${path}: metadata`).deletionTimestamp ? "deleting" : "there";
  } catch (error) {
    const { status } = KubeError.from(error);
    if (status === 404) return "gone";
    return status === 401 || status === 403 ? "refused" : "unknown";
  }
}
