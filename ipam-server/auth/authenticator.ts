import type { IncomingMessage } from "node:http";
import type { Caller } from "../domain/model/caller.ts";

/** Tells from a request who calls. Rejects with IpamError `unauthenticated`; never waits for another service. */
export interface Authenticator {
  authenticate(request: IncomingMessage): Caller;
}
