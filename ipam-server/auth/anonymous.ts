import type { Socket } from "node:net";
import { type Caller, ROLES } from "../domain/model/caller.ts";
import type { Authenticator } from "./authenticator.ts";

/** Gives every caller every role. Events name the caller's address. */
export function createAnonymousAuthenticator(): Authenticator {
  // Cached by connection, because the peer's address is the most expensive part of a call.
  const callers = new WeakMap<Socket, Caller>();
  return {
    authenticate({ socket }) {
      const known = callers.get(socket);
      if (known) return known;
      // A listener on [::] sees IPv4 peers as ::ffff:10.0.0.1; a unix socket's peer has no address.
      const address = socket.remoteAddress?.replace(/^::ffff:/, "") ?? "local";
      const caller = { name: `anonymous@${address}`, roles: ROLES };
      callers.set(socket, caller);
      return caller;
    },
  };
}
