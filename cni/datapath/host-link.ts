import type { SandboxIds } from "../external-ids.ts";
import type { DatapathContext } from "./datapath-context.ts";
import type { Deadline } from "./deadline.ts";
import { deriveAlias, deriveHostInterfaces } from "./interface-name.ts";
import { fetchLink, type Link, setLinkDown } from "./netlink/link.ts";
import type { RouteSocket } from "./netlink/socket.ts";

interface HostLinks {
  /** This identity's link. */
  link: Link | undefined;
  /** The first candidate name that is free for this identity. */
  freeName: string | undefined;
}

/**
 * Finds the host link among its candidate names: by our alias, or a veth without an alias, which a killed plug leaves.
 */
export async function findHostLink(
  socket: RouteSocket,
  { sandboxId, containerInterface }: SandboxIds,
  takenNames: ReadonlySet<string>,
  deadline: Deadline,
): Promise<HostLinks> {
  const alias = deriveAlias(sandboxId, containerInterface);
  const names = deriveHostInterfaces(sandboxId, containerInterface);
  const links = await Promise.all(names.map(name => fetchLink(socket, name, deadline)));
  const own = (link: Link | undefined) => link?.alias === alias || (link?.kind === "veth" && !link.alias);
  const link = links.find(candidate => candidate?.alias === alias) ?? links.find(own);
  return { link, freeName: names.find((name, index) => !takenNames.has(name) && (!links[index] || own(links[index]))) };
}

/** Deletes the link and with it its end in the pod. True if it existed. */
export async function deleteHostLink(
  context: DatapathContext,
  identity: SandboxIds,
  deadline: Deadline,
): Promise<boolean> {
  const link = await findOwnLink(context, identity, deadline);
  if (link !== undefined) await context.removal.remove(link, deadline);
  return link !== undefined;
}

/** Stops traffic on the link and schedules its deletion. True if it existed and was not pending deletion. */
export async function quiesceHostLink(
  context: DatapathContext,
  identity: SandboxIds,
  deadline: Deadline,
): Promise<boolean> {
  const link = await findOwnLink(context, identity, deadline);
  if (link === undefined || link.isPendingDeletion) return false;
  await context.removal.quiesce(link, deadline);
  return true;
}

/** Stops traffic on the link and keeps it. True if it was up. */
export async function takeDownHostLink(
  context: DatapathContext,
  identity: SandboxIds,
  deadline: Deadline,
): Promise<boolean> {
  const link = await findOwnLink(context, identity, deadline);
  if (link === undefined || !link.up) return false;
  await setLinkDown(await context.hostSocket(), link.index, deadline);
  return true;
}

async function findOwnLink(
  context: DatapathContext,
  identity: SandboxIds,
  deadline: Deadline,
): Promise<Link | undefined> {
  return (await findHostLink(await context.hostSocket(), identity, new Set(), deadline)).link;
}
