import type { Deadline } from "../deadline.ts";
import { deleteLink, type Link } from "../netlink/link.ts";
import type { RouteSocket } from "../netlink/socket.ts";

/**
 * Deletes host links. The kernel hides a deleted link at once but returns only after an RCU grace period, some 15 ms,
 * in which the calling thread waits.
 */
export interface LinkRemoval extends AsyncDisposable {
  /** Resolves when no traffic passes the link; it is deleted soon after. */
  quiesce(link: Link, deadline: Deadline): Promise<void>;
  /** Resolves when the link is deleted. */
  remove(link: Link, deadline: Deadline): Promise<void>;
  /** Resolves when all quiesced links are deleted; true if there were any. */
  finish(deadline: Deadline): Promise<boolean>;
}

/** For the executable: deletes at once, because the process ends with its call. */
export function removeAtOnce(openHost: () => Promise<RouteSocket>): LinkRemoval {
  const remove = async (link: Link, deadline: Deadline) =>
    void (await deleteLink(await openHost(), link.index, deadline));
  return { quiesce: remove, remove, finish: async () => false, [Symbol.asyncDispose]: async () => {} };
}
