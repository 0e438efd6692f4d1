import type { FullIpamClient } from "../client/client.ts";
import type { Cluster, ClusterRegistration } from "../contract/index.ts";
import type { KubeApi } from "../kube/kube-api.ts";
import { record, text } from "../kube/objects.ts";

interface RegistrationOptions {
  cluster: string;
  api: Pick<KubeApi, "get">;
  ipam: Pick<FullIpamClient, "registerCluster">;
}

const KUBE_SYSTEM = "/api/v1/namespaces/kube-system";

/** Proves before each pass that this controller acts on the cluster that the name belongs to. */
export class Registration {
  readonly #options: RegistrationOptions;

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  /**
   * Registers the UID that kube-system has now, with the pass that is held. Rejects with `conflict` if the name belongs to
   * another cluster, and with KubeError.
   */
  async register(heldPass?: ClusterRegistration["heldPass"]): Promise<Cluster> {
    const { cluster, api, ipam } = this.#options;
    const namespace = record(await api.get(KUBE_SYSTEM), "namespace");
    const uid = text(record(namespace.metadata, "namespace.metadata").uid, "namespace.metadata.uid");
    return ipam.registerCluster(cluster, { uid, ...(heldPass !== undefined && { heldPass }) });
  }
}
