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
 * True if a stopping agent is proven to be uninstalled and not replaced: its DaemonSet or namespace is deleted. A refused
 * read proves nothing, because a token may have expired or a role may be wrong. Gone counts only for what was there before.
 */
export function isUninstalled({ daemonSet, namespace }: AgentState, wasThere: boolean): boolean {
  if (daemonSet === "deleting" || namespace === "deleting") return true;
  return wasThere && (daemonSet === "gone" || namespace === "gone");
}

/** Reads both. `watch` has the namespace as an event reported it, for when the read is not answered. */
export async function readAgentState(
  api: Pick<KubeApi, "get">,
  { namespace, name }: { namespace: string; name: string },
  watch?: { readonly state: ResourceState },
): Promise<AgentState> {
  const [daemonSetState, namespaceState] = await Promise.all([
    readState(api, `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets/${encodeURIComponent(name)}`),
    readState(api, `/api/v1/namespaces/${encodeURIComponent(namespace)}`),
  ]);
  const isAnswered = namespaceState !== "refused" && namespaceState !== "unknown";
  const isWatched = watch !== undefined && watch.state !== "unknown";
  return { daemonSet: daemonSetState, namespace: !isAnswered && isWatched ? watch.state : namespaceState };
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
