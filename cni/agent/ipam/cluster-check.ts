import { setTimeout } from "node:timers/promises";
import type { FullIpamClient } from "../../../ipam-server/client/client.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";

export interface OwnCluster {
  name: string;
  /** Reads the UID of the namespace kube-system. */
  readUid(): Promise<string>;
}

/** It is asked again after this time, unless the name is this cluster's. */
const ASK_AGAIN_MS = 10_000;
/** A claim waits for the answer this long, because an outage must not delay claims that need no answer. */
const WAIT_MS = 2_000;

/**
 * Asks the IPAM before the first claim whether this cluster's name belongs to this Kubernetes cluster, because the ports of
 * another cluster of that name would look like this one's. What cannot be asked now is asked before a later claim.
 */
export class ClusterCheck {
  readonly #cluster: OwnCluster;
  readonly #client: Pick<FullIpamClient, "registerCluster">;
  readonly #now: () => number;
  #isOwn = false;
  #refusal: IpamError | undefined;
  #asking: Promise<void> | undefined;
  #askAgainAt = Number.NEGATIVE_INFINITY;

  constructor(cluster: OwnCluster, client: Pick<FullIpamClient, "registerCluster">, now: () => number) {
    this.#cluster = cluster;
    this.#client = client;
    this.#now = now;
  }

  /** Rejects with `unavailable`, which changes nothing on the node, if the name belongs to another cluster. */
  async assertOwn(): Promise<void> {
    if (this.#isOwn) return;
    if (this.#asking === undefined && this.#now() >= this.#askAgainAt) this.#asking = this.#ask();
    if (this.#asking) await Promise.race([this.#asking, setTimeout(WAIT_MS, undefined, { ref: false })]);
    if (this.#refusal) throw this.#refusal;
  }

  /** Why nothing is claimed. */
  get refusal(): string | undefined {
    return this.#refusal?.message;
  }

  /** Does not reject. */
  async #ask(): Promise<void> {
    try {
      await this.#client.registerCluster(this.#cluster.name, { uid: await this.#cluster.readUid() });
      this.#isOwn = true;
      this.#refusal = undefined;
    } catch (error) {
      // Only a proof stops this node's pods: neither an older server nor an API that does not answer is one.
      if (error instanceof IpamError && error.code === "conflict") {
        this.#refusal = new IpamError("unavailable", error.message, { cause: error });
      }
    }
    this.#askAgainAt = this.#now() + ASK_AGAIN_MS;
    this.#asking = undefined;
  }
}
