import type { Logger } from "pino";
import type { Claim } from "../../../ipam-server/contract/index.ts";
import type { NodeDatapath } from "../../datapath/node-datapath.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { AddressCondition } from "../pod/address-condition.ts";
import type { HeldPorts } from "./held-ports.ts";

interface RejectedPortsOptions {
  datapath: Pick<NodeDatapath, "fence">;
  held: HeldPorts;
  condition: Pick<AddressCondition, "setFault">;
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
    const { datapath, held, condition, metrics, log } = this.#options;
    if (sandbox === undefined) return;
    held.dropSandbox(sandbox.id, sandbox.interface);
    metrics.fencedPorts.inc({ reason: "refused" });
    log.warn({ port: name, sandbox: sandbox.id, reason }, "IPAM rejected a plugged port, disconnecting it");
    // A pod that runs in another sandbox need not be deleted.
    if (held.find(owner.uid, sandbox.interface) === undefined) {
      const message = `The pod was disconnected, because the IPAM rejected its address: ${reason}; delete the pod`;
      condition.setFault(owner.uid, "AddressRefused", message);
    }
    try {
      await datapath.fence({ sandboxId: sandbox.id, containerInterface: sandbox.interface });
    } catch (error) {
      log.error({ port: name, sandbox: sandbox.id, reason: describeError(error) }, "cannot disconnect");
      throw error;
    }
  }
}
