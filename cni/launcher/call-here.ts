import { type Answer, type Call, dispatch } from "../dispatch.ts";
import type { Home } from "../verbs/backend.ts";
import { createExecutableHome } from "../verbs/executable-backend.ts";

/** Answers the call in this process. A bundle of its own: the call that is forwarded needs none of it, and starts sooner. */
export function callHere(call: Call, home: Pick<Home, "log" | "signal">): Promise<Answer> {
  return dispatch(call, createExecutableHome(home));
}
