import type { IpamClient } from "../../ipam-server/client/client.ts";
import { RELEASE_POLICY } from "../../ipam-server/client/retry-policy.ts";
import type { ReleaseResult } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import type { Datapath } from "../datapath/attachment.ts";
import { DatapathError } from "../datapath/datapath-error.ts";
import { deliverJournal } from "../journal/delivery.ts";
import type { PendingRelease } from "../journal/entry.ts";
import type { Journal } from "../journal/journal.ts";
import { describeError } from "../spec/cni-error.ts";
import type { VerbCall } from "./backend.ts";

/**
 * Unplugs a sandbox. Rejects while the pod may still be connected, and its addresses must then stay held. An OVS that
 * is down does not reject: the link is deleted, and GC removes the remaining OVS row.
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
    backend.log(`${sandbox.id}/${sandbox.interface}: link deleted, its OVS port remains until GC: ${error.message}`);
  }
}

/**
 * Delivers the journal, then the release of what was disconnected, or journals the release and resolves with undefined.
 * Rejects only if neither works.
 */
export async function release(
  ipam: IpamClient,
  journal: Journal,
  call: VerbCall,
  what: PendingRelease,
): Promise<ReleaseResult | undefined> {
  const { config, backend } = call;
  const host = backend.identify(config)?.host;
  const pending = { ...what, unplugged: true };
  const entry = { kind: "release", release: { ...(host !== undefined && { host }), ...pending } } as const;
  // Only the agent can fill in the missing host.
  if (host === undefined) {
    await journal.append(entry);
    return undefined;
  }
  try {
    if (!backend.background)
      await deliverJournal(journal, ipam, { host, log: backend.log, timeoutMs: RELEASE_POLICY.timeoutMs });
    const [result] = await ipam.release([{ host, ...pending }], RELEASE_POLICY);
    if (result !== undefined && "problem" in result) throw IpamError.fromProblem(result.problem);
    return result;
  } catch (error) {
    await journal.append(entry);
    backend.log(`release journaled in ${journal.dir}: ${describeError(error)}`);
    return undefined;
  }
}

/** Delivers earlier calls' journal entries. Only logs failures, because they must not fail this call. */
export async function deliverEarlier(ipam: IpamClient, journal: Journal, { config, backend }: VerbCall): Promise<void> {
  const host = backend.identify(config)?.host;
  if (host === undefined || backend.background !== undefined) return;
  try {
    await deliverJournal(journal, ipam, { host, log: backend.log, timeoutMs: RELEASE_POLICY.timeoutMs });
  } catch (error) {
    backend.log(`journal ${journal.dir} not delivered: ${describeError(error)}`);
  }
}
