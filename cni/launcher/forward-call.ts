import type { Answer, Call } from "../dispatch.ts";
import { type AnswerLine, PROTOCOL_VERSION } from "./protocol.ts";
import type { RawPipe } from "./raw-pipe.ts";

interface ForwardOptions {
  /** How long an ADD retries while the agent is down. */
  retryForMs?: number;
  /** Default: a socket of `node:net`. */
  pipe?: RawPipe;
}

/** Limits a hung agent, because the runtime's own timeout is minutes. */
const ANSWER_TIMEOUT_MS = 60_000;
/** An agent upgrade takes one or two seconds. */
const ADD_RETRY_FOR_MS = 5_000;
const RETRY_MS = 50;

/** Returns `agentSocket` from stdin, the only key needed before the configuration is validated. */
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
 * Sends the call to the node's agent as one line of JSON and returns its answer. An ADD retries while the agent is
 * down. Undefined when no agent answered; the caller then runs the call in this process.
 */
export async function forwardCall(
  socketPath: string,
  { env, stdin }: Call,
  { retryForMs = ADD_RETRY_FOR_MS, pipe }: ForwardOptions = {},
): Promise<Answer | undefined> {
  const exchange = pipe?.exchange ?? (await import("./net-pipe.ts")).exchange;
  const ours = Object.fromEntries(Object.entries(env).filter(([key]) => key.startsWith("CNI_")));
  const line = `${JSON.stringify({ version: PROTOCOL_VERSION, env: ours, stdin })}\n`;
  // Not `performance.now()`: its first use loads modules for longer than the agent needs to answer.
  const deadline = Date.now() + (env.CNI_COMMAND === "ADD" ? retryForMs : 0);
  for (;;) {
    const answer = parseAnswer(await exchange(socketPath, line, ANSWER_TIMEOUT_MS));
    // A DEL runs here instead: the journal keeps its release until an agent of the same version delivers it.
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
