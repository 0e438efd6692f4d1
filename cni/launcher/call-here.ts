import { type Answer, type Call, dispatch } from "../dispatch.ts";
import type { VerbBackend } from "../verbs/backend.ts";
import { createExecutableBackend } from "../verbs/executable-backend.ts";

/** Answers the call in this process. A bundle of its own: the call that is forwarded needs none of it, and starts sooner. */
export function callHere(call: Call, backend: Pick<VerbBackend, "log" | "signal">): Promise<Answer> {
  return dispatch(call, createExecutableBackend(backend));
}
