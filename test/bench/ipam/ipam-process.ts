import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { BenchContext } from "../context.ts";

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** A real `mooring-ipam` process on a database, as an operator runs it; its port stays its own over restarts. */
export class IpamProcess implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly #context: BenchContext;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #lines: string[] = [];

  private constructor(context: BenchContext, port: number, args: readonly string[]) {
    this.#context = context;
    this.port = port;
    this.#args = args;
  }

  static async start(context: BenchContext, database: string): Promise<IpamProcess> {
    const port = await pickFreePort();
    const program = join(context.root, "ipam-server/main.ts");
    const args = [program, "--listen", `127.0.0.1:${port}`, "--database", database];
    const server = new IpamProcess(context, port, args);
    await server.up();
    return server;
  }

  get url(): string {
    return `http://${this.host}:${this.port}`;
  }

  /** Undefined while it is down. */
  get pid(): number | undefined {
    return this.#isRunning ? this.#child?.pid : undefined;
  }

  get #isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it takes changes. */
  async up(): Promise<void> {
    const { nodePath, env, signal } = this.#context;
    const child = spawn(nodePath, this.#args, { stdio: ["ignore", "pipe", "pipe"], env: { ...env } });
    this.#child = child;
    this.#lines = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#lines.push(chunk.toString());
        if (this.#lines.length > 20) this.#lines.shift();
      });
    }
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (Date.now() < deadline && !signal.aborted) {
      if (!this.#isRunning) throw new Error(`mooring-ipam ended: ${this.#lines.join("")}`);
      const ready = await fetch(`${this.url}/readyz`, { signal }).catch(() => undefined);
      await ready?.arrayBuffer();
      if (ready?.ok) return;
      await delay(20);
    }
    await this.down("SIGTERM");
    signal.throwIfAborted();
    throw new Error(`mooring-ipam was not ready within ${READY_TIMEOUT_MS} ms: ${this.#lines.join("")}`);
  }

  async down(how: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.#isRunning) return;
    const gone = once(child, "exit");
    child.kill(how);
    const forced = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(forced);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down("SIGTERM");
  }
}

async function pickFreePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no free TCP port");
  return address.port;
}
