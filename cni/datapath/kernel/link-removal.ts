import type { Deadline } from "../deadline.ts";
import { deleteLink, type Link } from "../netlink/link.ts";
import type { RouteSocket } from "../netlink/socket.ts";

/**
 * How host links go. The kernel lets nobody see a link any more at once, but comes back from its deletion only when every
 * CPU has passed a quiescent state (RCU) some 15 ms later, and the calling thread waits.
 */
export interface LinkRemoval extends AsyncDisposable {
  /** Resolves when nothing passes the link any more, and it will be gone soon whatever else happens. */
  quiesce(link: Link, deadline: Deadline): Promise<void>;
  /** Resolves when the link is gone. */
  remove(link: Link, deadline: Deadline): Promise<void>;
  /** Resolves when all that was silenced is gone: true if there was anything. */
  finish(deadline: Deadline): Promise<boolean>;
}

/** For one call: the process ends with it, so that nothing may be left for later. */
export function removeAtOnce(openHost: () => Promise<RouteSocket>): LinkRemoval {
  const remove = async (link: Link, deadline: Deadline) =>
    void (await deleteLink(await openHost(), link.index, deadline));
  return { quiesce: remove, remove, finish: async () => false, [Symbol.asyncDispose]: async () => {} };
}
