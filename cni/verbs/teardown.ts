import type { IpamClient } from "../../ipam-server/client/client.ts";
import { RELEASE_POLICY } from "../../ipam-server/client/retry-policy.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import type { Datapath } from "../datapath/attachment.ts";
import { DatapathError } from "../datapath/datapath-error.ts";
import { deliverJournal } from "../journal/delivery.ts";
import type { PendingRelease } from "../journal/entry.ts";
import type { Journal } from "../journal/journal.ts";
import { describeError } from "../spec/cni-error.ts";
import type { VerbCall } from "./backend.ts";

/** The IPAM may be slow or away; what is not told in this time is journaled, because a pod's end must not wait for it. */

/**
 * Unplugs a sandbox so that its addresses are silent. Rejects when the pod may still be heard: its addresses must then
 * stay held. An OVS that does not answer is no such case, because the datapath removes the link first: what is left is a
 * row without a link, which OVS reports and GC removes.
 */
export async function disconnect(
  datapath: Datapath,
  { invocation, backend }: VerbCall,
  sandbox: { id: string; interface: string } = { id: invocation.containerId, interface: invocation.ifname },
): Promise<void> {
  try {
    await datapath.unplug(sandbox.id, sandbox.interface, invocation.netns);
  } catch (error) {
    if (!(error instanceof DatapathError && (error.step === "ovs" || error.step === "bridge"))) throw error;
    backend.log(`${sandbox.id}/${sandbox.interface}: the link is gone, its OVS port is left for GC: ${error.message}`);
  }
}

/** Tells the IPAM, after whatever earlier calls left in the journal, or journals it. Rejects only when neither works. */
export async function release(ipam: IpamClient, journal: Journal, call: VerbCall, what: PendingRelease): Promise<void> {
  const { config, backend } = call;
  const host = backend.identify(config)?.host;
  const entry = { kind: "release", release: { ...(host !== undefined && { host }), ...what } } as const;
  // Without a name only the agent can release: it fills in its own.
  if (host === undefined) return journal.append(entry);
  try {
    if (!backend.background)
      await deliverJournal(journal, ipam, { host, log: backend.log, timeoutMs: RELEASE_POLICY.timeoutMs });
    const [result] = await ipam.release([{ host, ...what }], RELEASE_POLICY);
    if (result !== undefined && "problem" in result) throw IpamError.fromProblem(result.problem);
  } catch (error) {
    await journal.append(entry);
    backend.log(`the release is journaled in ${journal.dir}: ${describeError(error)}`);
  }
}

/** Before and after a verb's own work; failing to deliver what others left must not fail it. */
export async function deliverEarlier(ipam: IpamClient, journal: Journal, { config, backend }: VerbCall): Promise<void> {
  const host = backend.identify(config)?.host;
  if (host === undefined || backend.background !== undefined) return;
  try {
    await deliverJournal(journal, ipam, { host, log: backend.log, timeoutMs: RELEASE_POLICY.timeoutMs });
  } catch (error) {
    backend.log(`the journal ${journal.dir} is not delivered: ${describeError(error)}`);
  }
}
