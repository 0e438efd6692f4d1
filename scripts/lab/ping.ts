import { createInterface } from "node:readline";
import { waitFor } from "./command.ts";
import type { Endpoint } from "./endpoint.ts";

/** True as soon as one echo is answered; false when none was within the deadline. */
export async function ping(from: Endpoint, address: string, deadlineSeconds = 5): Promise<boolean> {
  const argv = ["ping", "-n", "-q", "-c", "1", "-i", "0.1", "-w", String(deadlineSeconds), address];
  const { code, stderr } = await from.run(argv);
  if (code !== 0 && code !== 1 && !/unreachable/i.test(stderr)) throw new Error(`${argv.join(" ")}: ${stderr.trim()}`);
  return code === 0;
}

export interface Pinging extends AsyncDisposable {
  /** When answers arrived: milliseconds since the epoch, oldest first. */
  readonly answers: readonly number[];
  /** The first answer that arrived at or after this time. */
  firstAnswerAfter(timeMs: number, timeoutMs?: number): Promise<number>;
}

/** Pings continuously, to measure an outage to the resolution of the interval. */
export function startPinging(from: Endpoint, address: string, intervalMs = 10): Pinging {
  const argv = ["ping", "-n", "-D", "-i", String(intervalMs / 1000), address];
  const child = from.start(argv, { piped: true });
  const answers: number[] = [];
  if (!child.stdout) throw new Error("ping has no output");
  createInterface({ input: child.stdout }).on("line", line => {
    const stamp = /^\[(\d+\.\d+)\] \d+ bytes from /.exec(line)?.[1];
    if (stamp !== undefined) answers.push(Number(stamp) * 1000);
  });
  return {
    answers,
    firstAnswerAfter: (timeMs, timeoutMs) =>
      waitFor(`${address} to answer ${from.name}`, () => answers.find(at => at >= timeMs), timeoutMs),
    [Symbol.asyncDispose]: () => from.stop(child, "SIGKILL"),
  };
}
