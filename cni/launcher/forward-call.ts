import type { Answer, Call } from "../dispatch.ts";
import { type AnswerLine, PROTOCOL_VERSION } from "./protocol.ts";
import type { RawPipe } from "./raw-pipe.ts";

export interface ForwardOptions {
  /** How an ADD waits for an agent that is away. */
  retryForMs?: number;
  /** Absent: a socket of `node:net`. */
  pipe?: RawPipe;
}

/** An agent that takes a call and then says nothing is as good as none: the runtime's own limit is minutes. */
const ANSWER_TIMEOUT_MS = 60_000;
/** An agent that is replaced is away for a second or two. */
const ADD_RETRY_FOR_MS = 5_000;
const RETRY_MS = 50;

/** The one key that must be known before the configuration is checked; what is wrong with the rest is told later. */
export function findAgentSocket(stdin: string): string | undefined {
  if (!stdin.includes('"agentSocket"')) return undefined;
  try {
    const socket: unknown = JSON.parse(stdin)?.agentSocket;
    return typeof socket === "string" ? socket : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Hands the raw call to the node's agent: one line of JSON there, one line `{stdout, exitCode}` back. An ADD waits for an
 * agent that is away, for a short time; repeating one that broke off is what runtimes do as well.
 * Undefined when there is no agent or it broke off; the caller then does what can be done without one.
 */
export async function forwardCall(
  socketPath: string,
  { env, stdin }: Call,
  { retryForMs = ADD_RETRY_FOR_MS, pipe }: ForwardOptions = {},
): Promise<Answer | undefined> {
  const exchange = pipe?.exchange ?? (await import("./net-pipe.ts")).exchange;
  const ours = Object.fromEntries(Object.entries(env).filter(([key]) => key.startsWith("CNI_")));
  const line = `${JSON.stringify({ version: PROTOCOL_VERSION, env: ours, stdin })}\n`;
  // Not `performance.now()`: what stands behind it is loaded at its first use, and takes longer than the agent.
  const deadline = Date.now() + (env.CNI_COMMAND === "ADD" ? retryForMs : 0);
  for (;;) {
    const answer = parseAnswer(await exchange(socketPath, line, ANSWER_TIMEOUT_MS));
    // What the executable can do alone loses nothing: the release waits in the journal for an agent that understands it.
    if (answer?.isMismatch && env.CNI_COMMAND === "DEL") return undefined;
    if (answer !== undefined || Date.now() >= deadline) return answer;
    await new Promise(resolve => setTimeout(resolve, RETRY_MS));
  }
}

function parseAnswer(line: string): AnswerLine | undefined {
  if (!line.endsWith("\n")) return undefined;
  try {
    const { stdout, exitCode, isMismatch } = JSON.parse(line);
    if (typeof stdout !== "string" || (exitCode !== 0 && exitCode !== 1)) return undefined;
    return { stdout, exitCode, ...(isMismatch === true && { isMismatch }) };
  } catch {
    return undefined;
  }
}
