import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { record } from "../../../ipam-server/kube/objects.ts";

export type ResourceState = "there" | "deleting" | "gone" | "refused" | "unknown";

/** State of the agent's DaemonSet and its namespace in the API. */
export interface AgentState {
  daemonSet: ResourceState;
  namespace: ResourceState;
}

const READ_TIMEOUT_MS = 5000;

/**
 * True if a stopping agent is being uninstalled and not replaced. A refused read counts only after an answered one, because
 * the service account may be deleted together with the DaemonSet, or never have had the right.
 */
export function isUninstalled({ daemonSet, namespace }: AgentState, wasAnswered: boolean): boolean {
  if (daemonSet === "deleting" || namespace === "deleting") return true;
  return wasAnswered && (daemonSet === "gone" || daemonSet === "refused" || namespace === "gone");
}

export async function readAgentState(
  api: Pick<KubeApi, "get">,
  { namespace, name }: { namespace: string; name: string },
): Promise<AgentState> {
  const [daemonSetState, namespaceState] = await Promise.all([
    readState(api, `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets/${encodeURIComponent(name)}`),
    readState(api, `/api/v1/namespaces/${encodeURIComponent(namespace)}`),
  ]);
  return { daemonSet: daemonSetState, namespace: namespaceState };
}

async function readState(api: Pick<KubeApi, "get">, path: string): Promise<ResourceState> {
  try {
    const { metadata } = record(await api.get(path, undefined, AbortSignal.timeout(READ_TIMEOUT_MS)), path);
    return record(metadata, `${path}: metadata`).deletionTimestamp ? "deleting" : "there";
  } catch (error) {
    const { status } = KubeError.from(error);
    if (status === 404) return "gone";
    return status === 401 || status === 403 ? "refused" : "unknown";
  }
}
