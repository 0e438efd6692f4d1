import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import type { KubeEvents } from "../../../ipam-server/kube/kube-events.ts";
import { ADDRESS_CONDITION, podPath } from "./pod.ts";
import type { NodePod, PodSource } from "./pods.ts";

interface AddressConditionOptions {
  api: Pick<KubeApi, "call">;
  events: Pick<KubeEvents, "write">;
  pods: Pick<PodSource, "items">;
  now(): Date;
  onError(error: KubeError): void;
}

/** Reason of the event and of the condition. */
export type AddressFault =
  /** Plugged while the IPAM was unreachable, and refused by it. */
  | "AddressRefused"
  /** Its binding has moved to another host or sandbox. */
  | "AddressMoved"
  /** Its binding was ended. */
  | "AddressReleased"
  /** It uses an address that the IPAM gave to another port. */
  | "AddressLost";

/** A status that was not written since the pod's object changed, is gone, or is another pod's. */
const STALE = new Set([404, 409, 422]);

/**
 * The condition `mooring.dev/Address` of pods that have lost their address, and an event, so that operators and their tools
 * find the pods to evict. Written once for each change, in order, in the background.
 */
export class AddressCondition implements AsyncDisposable {
  readonly #options: AddressConditionOptions;
  /** UIDs of pods whose condition was set to False and may not yet be so in the watch. */
  readonly #faulty = new Set<string>();
  #queue: Promise<void> = Promise.resolve();

  constructor(options: AddressConditionOptions) {
    this.#options = options;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue;
  }

  /** Does nothing for a pod that is not of this node, is being deleted or has finished. */
  setFault(ownerUid: string | undefined, reason: AddressFault, message: string): void {
    const { events, pods } = this.#options;
    const pod = ownerUid === undefined ? undefined : pods.items?.get(ownerUid);
    if (pod === undefined || pod.deleting || pod.finished) return;
    const { namespace, name, uid } = pod;
    events.write({
      subject: { apiVersion: "v1", kind: "Pod", namespace, name, uid },
      type: "Warning",
      reason,
      message,
    });
    for (const each of this.#faulty) if (!pods.items?.has(each)) this.#faulty.delete(each);
    this.#faulty.add(uid);
    this.#write(pod, "False", reason, message);
  }

  /** Does nothing unless the pod has the condition False. */
  setConnected(ownerUid: string | undefined): void {
    const pod = ownerUid === undefined ? undefined : this.#options.pods.items?.get(ownerUid);
    if (pod === undefined || !(this.#faulty.delete(pod.uid) || pod.hasAddressFault)) return;
    this.#write(pod, "True", "AddressConnected", "The pod has its address.");
  }

  #write({ namespace, name, uid }: NodePod, status: "True" | "False", reason: string, message: string): void {
    const lastTransitionTime = this.#options.now().toISOString();
    const conditions = [{ type: ADDRESS_CONDITION, status, reason, message, lastTransitionTime }];
    // The UID is a precondition: the pod may have been replaced by another one of its name.
    const body = { metadata: { uid }, status: { conditions } };
    const contentType = "application/strategic-merge-patch+json";
    this.#queue = this.#queue
      .then(() => this.#options.api.call("PATCH", `${podPath(namespace, name)}/status`, { body, contentType }))
      .then(
        () => undefined,
        cause => {
          const error = KubeError.from(cause);
          if (!STALE.has(error.status)) this.#options.onError(error);
        },
      );
  }
}
