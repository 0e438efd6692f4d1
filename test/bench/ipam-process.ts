import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { run } from "../../scripts/lab/command.ts";
import type { BenchContext } from "./context.ts";

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

export interface IpamPlace {
  host: string;
  port: number;
  /** Puts a command there; absent: this namespace. */
  inside?: (argv: readonly string[]) => string[];
}

/** A real `mooring-ipam` process on a SQLite database, as an operator runs it. */
export class IpamProcess implements AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  private constructor(child: ChildProcess, { host, port }: IpamPlace) {
    this.host = host;
    this.port = port;
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#lines.push(chunk.toString());
        if (this.#lines.length > 20) this.#lines.shift();
      });
    }
  }

  static async start(context: BenchContext, database: string, place?: IpamPlace): Promise<IpamProcess> {
    const { host, port }: IpamPlace = place ?? { host: "127.0.0.1", port: await pickFreePort() };
    const inside = place?.inside ?? ((argv: readonly string[]) => [...argv]);
    const argv = [context.nodePath, join(context.root, "ipam-server/main.ts")];
    const [command = "", ...args] = inside([
      ...argv,
      ...["--listen", `${host}:${port}`, "--database", `sqlite:${database}`],
    ]);
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...context.env } });
    const server = new IpamProcess(child, { host, port });
    // A process per look: the server may live in another network namespace.
    const look = inside([
      context.nodePath,
      "-e",
      `fetch("${server.url}/readyz").then(r => process.exit(r.ok ? 0 : 1))`,
    ]);
    await server.#untilReady(context.signal, look);
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

  async #untilReady(signal: AbortSignal, look: readonly string[]): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (Date.now() < deadline && !signal.aborted) {
      if (this.#child.exitCode !== null) throw new Error(`mooring-ipam ended: ${this.#lines.join("")}`);
      if ((await run(look)).code === 0) return;
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
