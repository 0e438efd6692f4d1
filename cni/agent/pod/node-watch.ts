import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import type { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { Reflector } from "../../../ipam-server/kube/reflector.ts";

interface NodeWatchOptions {
  api: Pick<KubeApi, "list" | "listCached" | "watch">;
  nodeName: string;
  /** Called when the node is cordoned (also by a drain) or uncordoned. */
  onCordon(isCordoned: boolean): void;
  onError?(error: KubeError): void;
}

/** Watches this node's object. Keeps the last state while the object is unavailable. */
export function watchNode({ api, nodeName, onCordon, onError }: NodeWatchOptions): AsyncDisposable {
  let last = false;
  return new Reflector<{ name: string; isCordoned: boolean }>({
    api,
    path: `/api/v1/nodes?fieldSelector=${encodeURIComponent(`metadata.name=${nodeName}`)}`,
    read: readNode,
    keyOf: ({ name }) => name,
    isSmall: true,
    mayBeAbsent: true,
    ...(onError && { onError }),
    onChange(type, { name, isCordoned }) {
      if (type === "gone" || name !== nodeName || isCordoned === last) return;
      last = isCordoned;
      onCordon(isCordoned);
    },
  });
}

function readNode(value: unknown): { name: string; isCordoned: boolean } {
  const { metadata, spec } = value as { metadata?: { name?: unknown }; spec?: { unschedulable?: unknown } };
  return { name: String(metadata?.name), isCordoned: spec?.unschedulable === true };
}
