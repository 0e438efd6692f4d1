import type { Logger } from "pino";
import { deriveRetryDelay } from "../../../ipam-server/client/retry-policy.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { BackgroundLoop } from "../../../ipam-server/process/background-loop.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { AgentIpam } from "../ipam/agent-ipam.ts";
import type { HeldPorts } from "./held-ports.ts";

interface LoadHeldOptions {
  ipam: Pick<AgentIpam, "readPortsOfHost">;
  held: HeldPorts;
  nodeName: string;
  log: Logger;
  retryMs?: number;
}

/** Loads this node's bindings into `held` once, and retries until it succeeds. Does not replace newer entries of calls. */
export function loadHeld(options: LoadHeldOptions): AsyncDisposable & { retry(): void } {
  const { ipam, held, nodeName, log, retryMs = 5_000 } = options;
  let hasFailed = false;
  const pass = async () => {
    try {
      for (const port of await ipam.readPortsOfHost(nodeName)) {
        const { binding, owner } = port;
        // A lease has no pod yet.
        if (binding?.host !== nodeName || owner?.kind === "lease") continue;
        const ifname = binding.sandbox?.interface ?? DEFAULT_INTERFACE;
        if (held.find(binding.ownerUid, ifname) !== undefined) continue;
        held.put(binding.ownerUid, ifname, { port, ...(binding.sandbox && { sandboxId: binding.sandbox.id }) });
      }
      held.isSynced = true;
      log.info({ ports: held.size }, "loaded node bindings");
      return undefined;
    } catch (error) {
      if (!hasFailed) log.warn({ reason: describeError(error) }, "cannot load node bindings, retrying");
      hasFailed = true;
      return deriveRetryDelay(error, retryMs);
    }
  };
  const loop = new BackgroundLoop({ pass });
  return {
    /** Retries at once. */
    retry: () => loop.wake(),
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}
