import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const MAIN = new URL("../../ipam-server/main.ts", import.meta.url).pathname;
const DEADLINE_MS = 30_000;

let makeUrl: (() => Promise<string>) | undefined;

/** From now on servers remember in databases made so, instead of files: the same tests on another engine. */
export function useDatabases(make: () => Promise<string>): void {
  makeUrl = make;
}

/** What `--database` names: the file, unless the tests run on another engine. */
export const makeDatabase = async (path: string): Promise<string> => makeUrl?.() ?? path;

const toUrl = (database: string): string => (database.includes("://") ? database : `sqlite:${database}`);

export interface StartOptions {
  /** A file or a URL. Default: a new one, removed in the end. */
  database?: string;
  args?: string[];
  env?: Record<string, string>;
  /** The arguments name a unix socket; `url` and `port` mean nothing. */
  unix?: boolean;
}

/** The real server as an operator runs it, on a port that the kernel picks. */
export class ServerProcess implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly database: string;
  readonly log: readonly string[];
  readonly #child: ChildProcess;
  readonly #cleanUp: () => Promise<void>;

  private constructor(child: ChildProcess, log: string[], url: string, database: string, cleanUp: () => Promise<void>) {
    this.#child = child;
    this.log = log;
    this.url = url;
    this.port = url.startsWith("unix:") ? 0 : Number(new URL(url).port);
    this.database = database;
    this.#cleanUp = cleanUp;
  }

  static async start({ database, args = [], env = {}, unix = false }: StartOptions = {}): Promise<ServerProcess> {
    const directory = await mkdtemp(join(tmpdir(), "mooring-server-"));
    const path = database ?? (await makeDatabase(join(directory, "ipam.db")));
    const listen = unix ? [] : ["--listen", "127.0.0.1:0"];
    const child = spawnServer([...listen, "--database", toUrl(path), ...args], env);
    const log: string[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    createInterface({ input: child.stderr }).on("line", line => {
      log.push(line);
      const url = /"msg":"listening on ((?:http|unix):[^"]+)"/.exec(line)?.[1];
      if (url !== undefined) resolve(url);
    });
    const late = setTimeout(() => reject(new Error(`the server is not ready:\n${log.join("\n")}`)), DEADLINE_MS);
    child.once("exit", code => reject(new Error(`the server ended with ${code}:\n${log.join("\n")}`)));
    try {
      const cleanUp = () => rm(directory, { recursive: true, force: true });
      return new ServerProcess(child, log, await promise, path, cleanUp);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The exit code, null when a signal ended it. */
  async ended(): Promise<number | null> {
    if (this.running) await once(this.#child, "exit", { signal: AbortSignal.timeout(DEADLINE_MS) });
    return this.#child.exitCode;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.signal(signal);
    return this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) await this.stop("SIGKILL");
    await this.#cleanUp();
  }
}

/** A server that is expected to end by itself: exit code and what it wrote. */
export async function runServer(args: string[], env: Record<string, string> = {}) {
  const child = spawnServer(args, env);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", chunk => (output += chunk));
  const late = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(late);
  return { code, output };
}

function spawnServer(args: string[], env: Record<string, string>) {
  return spawn(process.execPath, [MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
}
