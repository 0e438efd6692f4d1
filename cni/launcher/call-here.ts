import { type Answer, type Call, dispatch } from "../dispatch.ts";
import type { VerbBackend } from "../verbs/backend.ts";
import { createExecutableBackend } from "../verbs/executable-backend.ts";

/** Runs the call in this process. A bundle of its own, so that a forwarded call does not load the verbs. */
export function callHere(call: Call, backend: Pick<VerbBackend, "log" | "signal">): Promise<Answer> {
  return dispatch(call, createExecutableBackend(backend));
}
