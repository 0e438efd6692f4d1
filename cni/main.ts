import { fstatSync, readFileSync, writeSync } from "node:fs";
import type { Answer, Call } from "./dispatch.ts";
import { findAgentSocket, forwardCall } from "./launcher/forward-call.ts";
import { type Binding, openRawPipe } from "./launcher/raw-pipe.ts";

/**
 * The CNI executable: one process for each call of a container runtime. stdout carries the protocol, stderr one line
 * for each fault. No other file of the executable touches `process`.
 */
async function main(): Promise<void> {
  process.once("uncaughtException", fault => {
    finish({ stdout: describeFault(fault), exitCode: 1 });
    process.exit();
  });
  const { env } = process;
  if (env.CNI_COMMAND === undefined) {
    log("a CNI plugin: container runtimes call it. Version and supported specs: CNI_COMMAND=VERSION mooring");
  }
  const call: Call = { env, stdin: await readStdin() };
  finish((await forward(call)) ?? (await answerHere(call)));
}

async function answerHere(call: Call): Promise<Answer> {
  const ended = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () =>
      ended.abort(new Error(`the runtime ended the call (${signal}): its changes were rolled back`)),
    );
  }
  const { callHere } = await import("./launcher/call-here.ts");
  return callHere(call, { log, signal: ended.signal });
}

/** Forwards the call unchanged to the agent, if one is configured. The agent cancels it when this process ends. */
async function forward(call: Call): Promise<Answer | undefined> {
  const socket = call.env.CNI_COMMAND === "VERSION" ? undefined : findAgentSocket(call.stdin);
  if (socket === undefined) return undefined;
  const pipe = openRawPipe("binding" in process ? (process.binding as Binding) : undefined);
  return forwardCall(socket, call, { ...(pipe && { pipe }) });
}

async function readStdin(): Promise<string> {
  // A terminal means a person is trying the executable: do not wait for them to type a configuration.
  if (process.env.CNI_COMMAND === undefined || isCharacterDevice(0)) return "";
  try {
    return readFileSync(0, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    // The pipe is non-blocking, set so by another process, and has no byte yet.
    if (code !== "EAGAIN") return "";
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks).toString();
  }
}

function isCharacterDevice(fd: number): boolean {
  try {
    return fstatSync(fd).isCharacterDevice();
  } catch {
    return true;
  }
}

function finish({ stdout, exitCode }: Answer): void {
  process.exitCode = exitCode;
  let rest = Buffer.from(stdout === "" ? "" : `${stdout}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code !== "EAGAIN") throw error;
    }
  }
}

function describeFault(fault: unknown): string {
  const msg = fault instanceof Error ? fault.message : String(fault);
  if (fault instanceof Error) log(fault.stack ?? msg);
  return JSON.stringify({
    cniVersion: "1.1.0",
    code: 999,
    msg,
    details: "internal error in Mooring: please report it",
  });
}

function log(line: string): void {
  process.stderr.write(`mooring: ${line}\n`);
}

void main();
