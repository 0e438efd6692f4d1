import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Endpoint } from "../endpoint.ts";
import { NODE } from "../paths.ts";

const PEER = fileURLToPath(new URL("main.ts", import.meta.url));

/** Listens in a namespace and echoes; resolves when it does. */
export async function tcpEcho(at: Endpoint, port: number): Promise<AsyncDisposable> {
  const child = at.start([NODE, PEER, "listen", String(port)], { piped: true });
  if (!child.stdout) throw new Error("the TCP peer has no output");
  const lines = createInterface({ input: child.stdout, signal: AbortSignal.timeout(10_000) });
  for await (const line of lines) if (line === "listening") break;
  return { [Symbol.asyncDispose]: () => at.stop(child, "SIGKILL") };
}

/** Sends `bytes` to an echo server and compares the answer; returns undefined, or what differs. */
export async function tcpExchange(
  from: Endpoint,
  address: string,
  port: number,
  bytes = 300_000,
): Promise<string | undefined> {
  const { stdout, stderr } = await from.run([NODE, PEER, "send", address, String(port), String(bytes)]);
  return stdout.trim() === "same" ? undefined : (stdout + stderr).trim();
}
