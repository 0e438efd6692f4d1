import type { Answer } from "../dispatch.ts";

/** Version of the exchange over the agent's socket. An agent of another version rejects the call with a mismatch answer. */
export const PROTOCOL_VERSION = 1;

/** The agent's answer, one line of JSON. */
export interface AnswerLine extends Answer {
  /** True: the agent has another PROTOCOL_VERSION and has not carried the call out. */
  isMismatch?: boolean;
}
