import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, run, waitFor } from "./command.ts";

const PREFIX = "mooring-lab-";

interface Entry {
  pid: number;
  /** From /proc: a pid that was reused since has another one. */
  startTime: string;
}

interface LabRecord {
  id: string;
  /** The process that created the lab: once it is gone and `keep` is false, any process may remove the lab. */
  maker: Entry;
  keep: boolean;
  namespaces: string[];
  processes: Entry[];
  label: string;
}

/**
 * What a lab has made: its directory, namespaces and processes, on disk before they exist, so that a later process
 * (this one at its end, the next lab, `demo --stop`) can remove exactly that and nothing else.
 */
export class Ledger implements AsyncDisposable {
  readonly id: string;
  readonly dir: string;
  readonly #record: LabRecord;

  private constructor(dir: string, record: LabRecord) {
    this.dir = dir;
    this.id = record.id;
    this.#record = record;
  }

  static create(label: string): Ledger {
    const dir = mkdtempSync(join(tmpdir(), PREFIX));
    const maker = entryOf(process.pid);
    if (!maker) throw new Error("/proc is not mounted");
    const id = `m${dir.slice(-6).toLowerCase()}`;
    const ledger = new Ledger(dir, { id, maker, keep: false, namespaces: [], processes: [], label });
    ledger.#save();
    return ledger;
  }

  /** Every lab of this machine that left its directory, running or not. */
  static list(): Ledger[] {
    const found: Ledger[] = [];
    for (const name of readdirSync(tmpdir()).filter(entry => entry.startsWith(PREFIX))) {
      const dir = join(tmpdir(), name);
      try {
        found.push(new Ledger(dir, JSON.parse(readFileSync(join(dir, "lab.json"), "utf8"))));
      } catch {
        // A lab that is being made or cleared at this moment has no readable record.
      }
    }
    return found;
  }

  /** Clears away labs whose maker died without doing so (kill -9, a crash). */
  static async sweep(): Promise<void> {
    for (const ledger of Ledger.list()) {
      if (!ledger.#record.keep && !isAlive(ledger.#record.maker)) await ledger[Symbol.asyncDispose]();
    }
  }

  get label(): string {
    return this.#record.label;
  }

  get kept(): boolean {
    return this.#record.keep;
  }

  /** The lab outlives its creator until an explicit dispose. */
  keep(): void {
    this.#record.keep = true;
    this.#save();
  }

  /** Makes a network namespace of this name, which must begin with the lab's id, with its loopback up. */
  async addNamespace(name: string): Promise<void> {
    this.#record.namespaces.push(name);
    this.#save();
    await must(["ip", "netns", "add", name]);
    await must(["ip", "-n", name, "link", "set", "lo", "up"]);
  }

  async removeNamespace(name: string): Promise<void> {
    await run(["ip", "netns", "del", name]);
    this.#record.namespaces = this.#record.namespaces.filter(other => other !== name);
    this.#save();
  }

  /** Starts a process that lives until it is stopped; what it prints goes to `log` in the lab's directory. */
  start(
    argv: readonly string[],
    log: string,
    options: { env?: NodeJS.ProcessEnv; piped?: boolean } = {},
  ): ChildProcess {
    const [file = "", ...args] = argv;
    mkdirSync(join(this.dir, "log"), { recursive: true });
    const sink = openSync(join(this.dir, "log", log), "a");
    const stdio: StdioOptions = ["ignore", options.piped ? "pipe" : sink, sink];
    const child = spawn(file, args, { detached: true, stdio, env: options.env ?? process.env });
    child.on("error", () => {});
    closeSync(sink);
    if (!options.piped) child.unref();
    const entry = child.pid === undefined ? undefined : entryOf(child.pid);
    if (entry) {
      this.#record.processes.push(entry);
      this.#save();
    }
    return child;
  }

  /** Ends a process of this lab: SIGTERM, or `signal`; SIGKILL when it has not ended after 3 s. */
  async stop(child: ChildProcess | number, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const pid = typeof child === "number" ? child : child.pid;
    const entries = this.#record.processes.filter(entry => entry.pid === pid);
    await end(entries, signal);
    this.#record.processes = this.#record.processes.filter(entry => !entries.includes(entry));
    this.#save();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#record.processes, "SIGTERM");
    for (const name of this.#record.namespaces) await run(["ip", "netns", "del", name]);
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #save(): void {
    const path = join(this.dir, "lab.json");
    writeFileSync(`${path}.new`, JSON.stringify(this.#record));
    renameSync(`${path}.new`, path);
  }
}

/** Undefined when there is no such process or it has ended and waits for its parent. */
function entryOf(pid: number): Entry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : { pid, startTime: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

function isAlive(entry: Entry): boolean {
  return entryOf(entry.pid)?.startTime === entry.startTime;
}

/** Every process leads a group of its own, so that its helpers end with it. */
async function end(entries: readonly Entry[], signal: NodeJS.Signals): Promise<void> {
  const alive = () => entries.filter(isAlive);
  const send = (name: NodeJS.Signals) => {
    for (const { pid } of alive()) {
      try {
        process.kill(-pid, name);
      } catch {
        // It ended in between.
      }
    }
  };
  send(signal);
  try {
    await waitFor("processes to end", () => alive().length === 0, 3_000);
  } catch {
    send("SIGKILL");
    await waitFor("killed processes to end", () => alive().length === 0, 5_000);
  }
}
