import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

const MAIN = new URL("../../ipam-server/ctl/main.ts", import.meta.url).pathname;
const DEADLINE_MS = 60_000;

export interface CtlRun {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/** mooringctl as a person runs it. */
export async function runCtlProcess(server: string, ...args: string[]): Promise<CtlRun> {
  const { MOORING_CONFIG: _config, MOORING_TIMEOUT: _timeout, ...env } = process.env;
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...env, MOORING_SERVER: server },
    stdio: ["ignore", "pipe", "pipe"],
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { exitCode, stdout, stderr };
}
