import type { SandboxIds } from "../external-ids.ts";
import type { DatapathContext } from "./datapath-context.ts";
import type { Deadline } from "./deadline.ts";
import { deriveAlias, deriveHostInterfaces } from "./interface-name.ts";
import { fetchLink, type Link } from "./netlink/link.ts";
import type { RouteSocket } from "./netlink/socket.ts";

export interface HostLinks {
  /** This identity's own link. */
  link: Link | undefined;
  /** The first name that neither another identity's link nor `takenNames` has. */
  freeName: string | undefined;
}

/**
 * Looks for the host side of an attachment under the names it can have. Ours is a link with our alias; or a veth under one
 * of our names without any alias, which a plug that was killed half way leaves behind.
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

/** True if there was one. It is gone when this resolves, and its end in the pod with it. */
export async function deleteHostLink(
  context: DatapathContext,
  identity: SandboxIds,
  deadline: Deadline,
): Promise<boolean> {
  const link = await findOwnLink(context, identity, deadline);
  if (link !== undefined) await context.removal.remove(link, deadline);
  return link !== undefined;
}

/** True if there was one that is not silent already. It may be there for a moment, but nothing passes it any more. */
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

async function findOwnLink(
  context: DatapathContext,
  identity: SandboxIds,
  deadline: Deadline,
): Promise<Link | undefined> {
  return (await findHostLink(await context.hostSocket(), identity, new Set(), deadline)).link;
}
