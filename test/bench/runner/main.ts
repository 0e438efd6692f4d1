import { spawnSync } from "node:child_process";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import type { RunnerReply, RunnerRequest } from "./runner.ts";

/**
 * Runs commands where it lives, a node's network namespace, and times each from before its start to after its end. A
 * process of its own, because `nsenter` before every command would be timed along with it.
 */
for await (const line of createInterface({ input: process.stdin })) {
  const { argv, env, input }: RunnerRequest = JSON.parse(line);
  const [file = "", ...args] = argv;
  const startedAt = performance.timeOrigin + performance.now();
  const started = performance.now();
  const { status, stdout, stderr, error } = spawnSync(file, args, { env, input, encoding: "utf8", timeout: 60_000 });
  const elapsedMs = performance.now() - started;
  const reply: RunnerReply = {
    code: status ?? -1,
    stdout: stdout ?? "",
    stderr: error === undefined ? stderr : `${error.message} ${stderr ?? ""}`,
    startedAt,
    elapsedMs,
  };
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
