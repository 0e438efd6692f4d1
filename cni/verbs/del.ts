import type { VerbCall } from "./backend.ts";
import { disconnect, release } from "./teardown.ts";

/**
 * Unplugs the sandbox and releases its binding. Succeeds when netns, link, OVS port or IPAM are gone. Rejects only
 * while the pod may still be connected, or if the release can be neither sent nor journaled.
 */
export async function del(call: VerbCall): Promise<string> {
  const { invocation, config, backend } = call;
  await using held = new AsyncDisposableStack();
  const datapath = held.use(await backend.openDatapath(config));
  const ipam = held.use(await backend.openIpam(config));
  const journal = await backend.openJournal(config);
  await disconnect(datapath, call);
  const sandbox = { id: invocation.containerId, interface: invocation.ifname };
  await release(ipam, journal, call, backend.buildRelease(call, sandbox));
  return "";
}
