import type { VerbCall } from "./backend.ts";
import { disconnect, release } from "./teardown.ts";

/**
 * Removes what is there and gives the binding back. Ends well with the namespace, the link, the OVS port or the IPAM
 * gone; fails only while the pod may still be heard, or when the release can neither be told nor journaled.
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
