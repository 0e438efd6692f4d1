import type { SandboxIds } from "../external-ids.ts";
import type { DatapathContext } from "./datapath-context.ts";
import { DatapathError } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { deleteHostLink, quiesceHostLink } from "./host-link.ts";
import { fetchPorts, removePorts } from "./ovsdb/ports.ts";

/**
 * Removes the attachment from any bridge and deletes its veth; the netns is not needed. If OVS does not answer, still
 * deletes the link, then rejects.
 */
export async function unplug(context: DatapathContext, identity: SandboxIds): Promise<boolean> {
  // OVS first: for a port whose device is gone it tries to load a kernel module of that name, which delays its other
  // work.
  const [port] = await Promise.allSettled([unplugFromOvs(context, identity, new Deadline(context.timeoutMs))]);
  const remove = port.status === "rejected" ? deleteHostLink : quiesceHostLink;
  const [link] = await Promise.allSettled([remove(context, identity, new Deadline(context.timeoutMs))]);
  if (port.status === "rejected" && link.status === "rejected") {
    const message = `${messageOf(port.reason)}; and ${messageOf(link.reason)}`;
    throw new DatapathError("unplug", message, new AggregateError([port.reason, link.reason]));
  }
  if (port.status === "rejected") throw port.reason;
  if (link.status === "rejected") throw link.reason;
  return port.value || link.value;
}

async function unplugFromOvs({ ovsdb }: DatapathContext, identity: SandboxIds, deadline: Deadline): Promise<boolean> {
  const ports = await fetchPorts(ovsdb, identity, deadline);
  if (ports.length > 0) await removePorts(ovsdb, ports, deadline);
  return ports.length > 0;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
