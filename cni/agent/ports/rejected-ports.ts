import type { Logger } from "pino";
import type { Claim } from "../../../ipam-server/contract/index.ts";
import type { KubeEvents } from "../../../ipam-server/kube/kube-events.ts";
import type { Datapath } from "../../datapath/attachment.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { PodSource } from "../pod/pods.ts";
import type { HeldPorts } from "./held-ports.ts";

export interface RejectedPortsOptions {
  datapath: Pick<Datapath, "unplug">;
  held: HeldPorts;
  pods: Pick<PodSource, "items">;
  events: Pick<KubeEvents, "write">;
  metrics: Pick<AgentMetrics, "fencedPorts">;
  log: Logger;
}

/** Silences what was plugged before the IPAM was asked, when it says no. */
export class RejectedPorts {
  readonly #options: RejectedPortsOptions;

  constructor(options: RejectedPortsOptions) {
    this.#options = options;
  }

  /** In the sandbox's turn. Rejects when the pod may still be heard. */
  async unplug({ sandbox, owner, name }: Claim, reason: string): Promise<void> {
    const { datapath, held, metrics, log } = this.#options;
    if (sandbox === undefined) return;
    held.dropSandbox(sandbox.id, sandbox.interface);
    metrics.fencedPorts.inc({ reason: "refused" });
    log.warn({ port: name, sandbox: sandbox.id, reason }, "unplugs what was plugged before the IPAM could be asked");
    // A pod that lives on in another sandbox is well, and must not be deleted for this one.
    if (held.find(owner.uid, sandbox.interface) === undefined) this.#tell(owner.uid, reason);
    try {
      await datapath.unplug(sandbox.id, sandbox.interface, undefined);
    } catch (error) {
      log.error({ port: name, sandbox: sandbox.id, reason: describeError(error) }, "cannot unplug");
      throw error;
    }
  }

  #tell(ownerUid: string, reason: string): void {
    const pod = this.#options.pods.items?.get(ownerUid);
    if (pod === undefined) return;
    const { namespace, name, uid } = pod;
    const message = `The pod was unplugged, because the IPAM does not give it the address it has: ${reason}; delete the pod`;
    const subject = { apiVersion: "v1", kind: "Pod", namespace, name, uid };
    this.#options.events.write({ subject, type: "Warning", reason: "AddressRefused", message });
  }
}
