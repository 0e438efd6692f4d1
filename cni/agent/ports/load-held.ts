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

/** Reads once what this node is bound to, trying until the IPAM answers; what calls have learned meanwhile stands. */
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
          // What is leased to this node is nobody's yet.
          if (binding?.host !== nodeName || owner?.kind === "lease") continue;
          const ifname = binding.sandbox?.interface ?? DEFAULT_INTERFACE;
          if (held.find(binding.ownerUid, ifname) !== undefined) continue;
          held.put(binding.ownerUid, ifname, { port, ...(binding.sandbox && { sandboxId: binding.sandbox.id }) });
        }
        held.isSynced = true;
        log.info({ ports: held.size }, "knows what this node holds");
        return;
      } catch (error) {
        if (failures === 0) log.warn({ reason: describeError(error) }, "cannot read what this node holds yet");
        await sleep(retryMs, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => undefined);
        wake = new AbortController();
      }
    }
  };
  const running = run();
  return {
    /** The IPAM is back. */
    retry: () => wake.abort(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
