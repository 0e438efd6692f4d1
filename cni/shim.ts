import { connect } from "node:net";
import type { Answer, Call } from "./dispatch.ts";

/** An agent that takes a call and then says nothing is as good as none: the runtime's own limit is minutes. */
const ANSWER_TIMEOUT_MS = 60_000;
const MAX_ANSWER_CHARS = 16 * 1024 * 1024;

/**
 * Hands the raw call to the node's agent: one line of JSON there, one line `{stdout, exitCode}` back.
 * Undefined when there is no agent or it broke off; the caller then does what can be done without one.
 */
export function forwardCall(socketPath: string, { env, stdin }: Call): Promise<Answer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
  const ours = Object.fromEntries(Object.entries(env).filter(([key]) => key.startsWith("CNI_")));
  let received = "";
  const socket = connect(socketPath, () => socket.write(`${JSON.stringify({ env: ours, stdin })}\n`));
  socket.setEncoding("utf8");
  socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy());
  socket.on("data", (chunk: string) => {
    received += chunk;
    if (received.includes("\n") || received.length > MAX_ANSWER_CHARS) socket.destroy();
  });
  socket.on("error", () => resolve(undefined));
  socket.on("close", () => resolve(parseAnswer(received)));
  return promise;
}

function parseAnswer(line: string): Answer | undefined {
  if (!line.endsWith("\n")) return undefined;
  try {
    const { stdout, exitCode } = JSON.parse(line);
    return typeof stdout === "string" && (exitCode === 0 || exitCode === 1) ? { stdout, exitCode } : undefined;
  } catch {
    return undefined;
  }
}
