import { type Answer, type Call, dispatch } from "./dispatch.ts";
import { createExecutableHome } from "./executable-home.ts";
import type { Home } from "./verbs/home.ts";

/** Answers the call in this process. A bundle of its own: the call that is forwarded needs none of it, and starts sooner. */
export function callHere(call: Call, home: Pick<Home, "log" | "signal">): Promise<Answer> {
  return dispatch(call, createExecutableHome(home));
}
