import type { SandboxIds } from "../external-ids.ts";
import type { DatapathContext } from "./datapath-context.ts";
import { DatapathError } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { deleteHostLink, quiesceHostLink, takeDownHostLink } from "./host-link.ts";
import { loadLibc } from "./kernel/libc.ts";
import { openNetns } from "./kernel/netns.ts";
import { fencePorts, removeFenced } from "./ovsdb/fenced-ports.ts";
import { fetchPorts, removePorts } from "./ovsdb/ports.ts";
import { deriveTable, removePodRules } from "./pod/own-table.ts";

/**
 * Removes the attachment from any bridge and deletes its veth; the netns is not needed. If OVS does not answer, still
 * deletes the link, then rejects.
 */
export async function unplug(
  context: DatapathContext,
  identity: SandboxIds,
  netns: string | undefined,
): Promise<boolean> {
  // OVS first: for a port whose device is gone it tries to load a kernel module of that name, which delays its other
  // work.
  const [port] = await Promise.allSettled([unplugFromOvs(context, identity, new Deadline(context.timeoutMs))]);
  const remove = port.status === "rejected" ? deleteHostLink : quiesceHostLink;
  const [link] = await Promise.allSettled([remove(context, identity, new Deadline(context.timeoutMs))]);
  if (netns !== undefined) await removeRules(context, netns, identity.containerInterface);
  return combine(port, link);
}

/** Ignores failures: the netns may be gone, and a rule without its table changes nothing. */
async function removeRules({ timeoutMs }: DatapathContext, path: string, containerInterface: string): Promise<void> {
  if (deriveTable(containerInterface) === undefined) return;
  try {
    using netns = openNetns(await loadLibc(), path);
    await removePodRules(netns, containerInterface, new Deadline(timeoutMs));
  } catch {}
}

/** See NodeDatapath. If OVS does not answer, still takes the link down, then rejects. */
export async function fence(context: DatapathContext, identity: SandboxIds): Promise<boolean> {
  // The link first: when OVS releases a device, it restores flags that it has read before.
  const [link] = await Promise.allSettled([takeDownHostLink(context, identity, new Deadline(context.timeoutMs))]);
  const [port] = await Promise.allSettled([fencePorts(context.ovsdb, identity, new Deadline(context.timeoutMs))]);
  return combine(port, link);
}

/** True if either found something. Rejects with both errors. */
function combine(port: PromiseSettledResult<boolean>, link: PromiseSettledResult<boolean>): boolean {
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
  if (ports.length === 0) return removeFenced(ovsdb, identity, deadline);
  await removePorts(ovsdb, ports, deadline);
  return true;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
