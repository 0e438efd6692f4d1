import type { DatapathContext } from "./context.ts";
import { DatapathError } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { deleteHostLink } from "./host-link.ts";
import { fetchPorts, type Identity, removePorts } from "./ovsdb/ports.ts";

/**
 * Takes the attachment out of OVS, wherever it is plugged, and deletes its veth. The pod's namespace is not needed: the
 * pod's end goes with the host's. With OVS away the link is deleted all the same, and then the failure reported.
 */
export async function unplug(context: DatapathContext, identity: Identity): Promise<boolean> {
  const deadline = new Deadline(context.timeoutMs);
  const [port, link] = await Promise.allSettled([
    unplugFromOvs(context, identity, deadline),
    context.hostSocket().then(host => deleteHostLink(host, identity, deadline)),
  ]);
  const reasons = [port, link].filter(outcome => outcome.status === "rejected").map(outcome => outcome.reason);
  const [first] = reasons;
  if (reasons.length === 1) throw first;
  if (reasons.length > 1) {
    const message = reasons.map(reason => (reason instanceof Error ? reason.message : String(reason))).join("; and ");
    throw new DatapathError("unplug", message, new AggregateError(reasons));
  }
  return [port, link].some(outcome => outcome.status === "fulfilled" && outcome.value);
}

async function unplugFromOvs({ ovsdb }: DatapathContext, identity: Identity, deadline: Deadline): Promise<boolean> {
  const ports = await fetchPorts(ovsdb, identity, deadline);
  if (ports.length > 0) await removePorts(ovsdb, ports, deadline);
  return ports.length > 0;
}
