import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import type { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { record } from "../../../ipam-server/kube/objects.ts";
import { Reflector } from "../../../ipam-server/kube/reflector.ts";
import type { ResourceState } from "./uninstalled.ts";

interface OwnNamespaceOptions {
  api: Pick<KubeApi, "list" | "listCached" | "watch">;
  name: string;
  onError?(error: KubeError): void;
}

/**
 * Watches the agent's namespace. `kubectl delete -k` deletes it together with the agent's rights and its service account, so
 * that no later read is answered; an open watch still reports it, because the API server authorizes a watch once.
 */
export class OwnNamespace implements AsyncDisposable {
  readonly #watch: Reflector<{ name: string; isDeleting: boolean }>;
  #state: ResourceState = "unknown";

  constructor({ api, name: own, onError }: OwnNamespaceOptions) {
    this.#watch = new Reflector({
      api,
      path: `/api/v1/namespaces?fieldSelector=${encodeURIComponent(`metadata.name=${own}`)}`,
      isSmall: true,
      read: readState,
      keyOf: ({ name }) => name,
      ...(onError && { onError }),
      onChange: (type, { name, isDeleting }) => {
        if (name === own) this.#state = type === "gone" ? "gone" : isDeleting ? "deleting" : "there";
      },
    });
  }

  /** As the watch last had it; `unknown` before its first list. */
  get state(): ResourceState {
    return this.#state;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }
}

function readState(value: unknown): { name: string; isDeleting: boolean } {
  const { name, deletionTimestamp } = record(record(value, "namespace").metadata, "namespace.metadata");
  return { name: String(name), isDeleting: Boolean(deletionTimestamp) };
}
