import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Endpoint } from "../../../scripts/lab/endpoint.ts";
import type { BenchContext } from "../context.ts";

export interface RunnerRequest {
  argv: readonly string[];
  env: Record<string, string>;
  input: string;
}

export interface RunnerReply {
  code: number;
  stdout: string;
  stderr: string;
  /** Milliseconds since the epoch, with fractions. */
  startedAt: number;
  elapsedMs: number;
}

/** The far end of runner/main.ts: one command at a time, inside an endpoint's network namespace. */
export class Runner implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(context: BenchContext, endpoint: Endpoint) {
    const [file = "", ...args] = endpoint.inside([
      context.nodePath,
      fileURLToPath(new URL("main.ts", import.meta.url)),
    ]);
    this.#child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new Error("the runner has no output");
    this.#reader = createInterface({ input: this.#child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async run(request: RunnerRequest): Promise<RunnerReply> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the runner ended early");
    const reply: RunnerReply = JSON.parse(value);
    return reply;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.stdin?.end();
    await gone;
    this.#reader.close();
  }
}
