import type { Logger } from "pino";
import type { Claim } from "../../../ipam-server/contract/index.ts";
import type { KubeEvents } from "../../../ipam-server/kube/kube-events.ts";
import type { NodeDatapath } from "../../datapath/node-datapath.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { PodSource } from "../pod/pods.ts";
import type { HeldPorts } from "./held-ports.ts";

interface RejectedPortsOptions {
  datapath: Pick<NodeDatapath, "fence">;
  held: HeldPorts;
  pods: Pick<PodSource, "items">;
  events: Pick<KubeEvents, "write">;
  metrics: Pick<AgentMetrics, "fencedPorts">;
  log: Logger;
}

/** Disconnects ports that were plugged while the IPAM was unreachable and that it rejects now. */
export class RejectedPorts {
  readonly #options: RejectedPortsOptions;

  constructor(options: RejectedPortsOptions) {
    this.#options = options;
  }

  /** Call it inside the sandbox's queue. Rejects if the pod may still be connected. */
  async disconnect({ sandbox, owner, name }: Claim, reason: string): Promise<void> {
    const { datapath, held, metrics, log } = this.#options;
    if (sandbox === undefined) return;
    held.dropSandbox(sandbox.id, sandbox.interface);
    metrics.fencedPorts.inc({ reason: "refused" });
    log.warn({ port: name, sandbox: sandbox.id, reason }, "IPAM rejected a plugged port, disconnecting it");
    // No event for a pod that runs in another sandbox: it need not be deleted.
    if (held.find(owner.uid, sandbox.interface) === undefined) this.#writeEvent(owner.uid, reason);
    try {
      await datapath.fence({ sandboxId: sandbox.id, containerInterface: sandbox.interface });
    } catch (error) {
      log.error({ port: name, sandbox: sandbox.id, reason: describeError(error) }, "cannot disconnect");
      throw error;
    }
  }

  #writeEvent(ownerUid: string, reason: string): void {
    const pod = this.#options.pods.items?.get(ownerUid);
    if (pod === undefined) return;
    const { namespace, name, uid } = pod;
    const message = `The pod was disconnected, because the IPAM rejected its address: ${reason}; delete the pod`;
    const subject = { apiVersion: "v1", kind: "Pod", namespace, name, uid };
    this.#options.events.write({ subject, type: "Warning", reason: "AddressRefused", message });
  }
}
