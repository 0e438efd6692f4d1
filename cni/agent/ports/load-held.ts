import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { AgentIpam } from "../ipam/agent-ipam.ts";
import type { HeldPorts } from "./held-ports.ts";

export interface LoadHeldOptions {
  ipam: Pick<AgentIpam, "readPortsOfHost">;
  held: HeldPorts;
  nodeName: string;
  log: Logger;
  retryMs?: number;
}

/** Loads this node's bindings into `held` once, and retries until it succeeds. Does not replace newer entries of calls. */
export function loadHeld(options: LoadHeldOptions): AsyncDisposable & { retry(): void } {
  const { ipam, held, nodeName, log, retryMs = 5_000 } = options;
  const stop = new AbortController();
  let wake = new AbortController();
  const { signal } = stop;
  const run = async () => {
    for (let failures = 0; !signal.aborted; failures++) {
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
        return;
      } catch (error) {
        if (failures === 0) log.warn({ reason: describeError(error) }, "cannot load node bindings, retrying");
        await sleep(retryMs, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => undefined);
        wake = new AbortController();
      }
    }
  };
  const running = run();
  return {
    /** Retries at once. */
    retry: () => wake.abort(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
