import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { BenchContext } from "./context.ts";

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** A real `mooring-ipam` process on a SQLite database, as an operator runs it. */
export class IpamProcess implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  private constructor(child: ChildProcess, port: number) {
    this.port = port;
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#lines.push(chunk.toString());
        if (this.#lines.length > 20) this.#lines.shift();
      });
    }
  }

  static async start(context: BenchContext, database: string): Promise<IpamProcess> {
    const port = await pickFreePort();
    const program = join(context.root, "ipam-server/main.ts");
    const args = [program, "--listen", `127.0.0.1:${port}`, "--database", `sqlite:${database}`];
    const child = spawn(context.nodePath, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...context.env } });
    const server = new IpamProcess(child, port);
    await server.#untilReady(context.signal);
    return server;
  }

  get url(): string {
    return `http://${this.host}:${this.port}`;
  }

  /** Resident memory of the process now, in bytes. */
  async residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  async #untilReady(signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (Date.now() < deadline && !signal.aborted) {
      if (this.#child.exitCode !== null) throw new Error(`mooring-ipam ended: ${this.#lines.join("")}`);
      const ready = await fetch(`${this.url}/readyz`, { signal }).catch(() => undefined);
      await ready?.arrayBuffer();
      if (ready?.ok) return;
      await delay(20);
    }
    await this[Symbol.asyncDispose]();
    signal.throwIfAborted();
    throw new Error(`mooring-ipam was not ready within ${READY_TIMEOUT_MS} ms: ${this.#lines.join("")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const forced = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(forced);
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
