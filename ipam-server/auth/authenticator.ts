import type { IncomingMessage } from "node:http";
import type { Caller } from "../domain/model/caller.ts";

/** Identifies the caller of a request. Throws IpamError `unauthenticated`; never calls another service. */
export interface Authenticator {
  authenticate(request: IncomingMessage): Caller;
}
