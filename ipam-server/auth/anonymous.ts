import type { Socket } from "node:net";
import { type Caller, ROLES } from "../domain/model/caller.ts";
import type { Authenticator } from "./authenticator.ts";

/** Without identities everybody who reaches the server may do everything; events say from where they came. */
export function createAnonymousAuthenticator(): Authenticator {
  // One caller a connection: looking up the peer's address is the dearest part of a call.
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
