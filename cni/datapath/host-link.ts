import type { Deadline } from "./deadline.ts";
import { deriveAlias, deriveHostInterfaces } from "./interface-name.ts";
import { deleteLink, fetchLink, type Link } from "./netlink/link.ts";
import type { RouteSocket } from "./netlink/socket.ts";
import type { Identity } from "./ovsdb/ports.ts";

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
  { sandboxId, containerInterface }: Identity,
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

/** True if there was one. Its end in the pod goes with it. */
export async function deleteHostLink(socket: RouteSocket, identity: Identity, deadline: Deadline): Promise<boolean> {
  const { link } = await findHostLink(socket, identity, new Set(), deadline);
  return link !== undefined && (await deleteLink(socket, link.index, deadline));
}
