import type { VerbCall } from "./backend.ts";
import { release, silence } from "./teardown.ts";

/**
 * Removes what is there and gives the binding back. Ends well with the namespace, the link, the OVS port or the IPAM
 * gone; fails only while the pod may still be heard, or when the release can neither be told nor journaled.
 */
export async function del(call: VerbCall): Promise<string> {
  const { invocation, config, home } = call;
  await using held = new AsyncDisposableStack();
  const datapath = held.use(await home.openDatapath(config));
  const ipam = held.use(await home.openIpam(config));
  const journal = await home.openJournal(config);
  await silence(datapath, call);
  const sandbox = { id: invocation.containerId, interface: invocation.ifname };
  await release(ipam, journal, call, home.buildRelease(call, sandbox));
  return "";
}
