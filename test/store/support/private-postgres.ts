import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";

const DEADLINE_MS = 60_000;
const USER = "mooring";

export interface PrivatePostgresOptions {
  /** False: a crash of the machine may lose data, one of PostgreSQL may not. Default false; a benchmark says true. */
  fsync?: boolean;
  /** More settings, as in postgresql.conf. */
  settings?: Record<string, string>;
}

/** Where Debian's package puts the newest version's programs; undefined when it is not installed. */
export function findPostgres(): string | undefined {
  const root = "/usr/lib/postgresql";
  if (!existsSync(root)) return undefined;
  const version = readdirSync(root)
    .filter(name => existsSync(join(root, name, "bin/initdb")))
    .sort((a, b) => Number(b) - Number(a))[0];
  return version && join(root, version, "bin");
}

/** PostgreSQL rejects root. User 65534 is the unprivileged one that every Linux has. */
function findUnprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "65534"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: "pipe" }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {}
  }
  throw new Error("there is neither a user postgres nor a user 65534 to run PostgreSQL as");
}

/** A PostgreSQL server of this test alone: its own data directory, socket and loopback port; it ends with the test. */
export class PrivatePostgres implements AsyncDisposable {
  readonly port: number;
  readonly password: string;
  readonly directory: string;
  readonly #bin: string;
  readonly #settings: Record<string, string>;
  readonly #user: { uid: number; gid: number } | undefined;
  #child: ChildProcess | undefined;
  #log = "";
  #databases = 0;

  private constructor(bin: string, directory: string, port: number, password: string, options: PrivatePostgresOptions) {
    this.#bin = bin;
    this.directory = directory;
    this.port = port;
    this.password = password;
    this.#user = findUnprivileged();
    this.#settings = {
      listen_addresses: "127.0.0.1",
      port: String(port),
      unix_socket_directories: directory,
      max_connections: "100",
      shared_buffers: "64MB",
      fsync: options.fsync ? "on" : "off",
      log_min_messages: "fatal",
      ...options.settings,
    };
  }

  static start(options: PrivatePostgresOptions = {}): Promise<PrivatePostgres> {
    return PrivatePostgres.#begin(randomBytes(9).toString("hex"), options, async server => {
      const passwordFile = join(server.directory, "password");
      await writeFile(passwordFile, server.password, { mode: 0o644 });
      const auth = ["--auth-local=trust", "--auth-host=scram-sha-256", `--pwfile=${passwordFile}`];
      await server.#run("initdb", ["-D", server.#data, "-U", USER, "-E", "UTF8", "--no-locale", "--no-sync", ...auth]);
    });
  }

  /** A hot standby of this server, which from now on waits for it at every commit. */
  async startStandby(options: PrivatePostgresOptions = {}): Promise<PrivatePostgres> {
    const standby = await PrivatePostgres.#begin(this.password, options, async server => {
      const from = `host=${this.directory} port=${this.port} user=${USER} application_name=standby`;
      await server.#run("pg_basebackup", [
        "-D",
        server.#data,
        "-d",
        from,
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
        "--no-sync",
      ]);
    });
    await this.query("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
    await this.query("SELECT pg_reload_conf()");
    return standby;
  }

  static async #begin(
    password: string,
    options: PrivatePostgresOptions,
    fill: (server: PrivatePostgres) => Promise<void>,
  ): Promise<PrivatePostgres> {
    const bin = findPostgres();
    if (bin === undefined) throw new Error("PostgreSQL is not installed; scripts/setup tests installs it");
    const directory = await mkdtemp(join(tmpdir(), "mooring-postgres-"));
    const server = new PrivatePostgres(bin, directory, await pickFreePort(), password, options);
    try {
      if (server.#user) await chown(directory, server.#user.uid, server.#user.gid);
      await fill(server);
      await server.up();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  get #data(): string {
    return join(this.directory, "data");
  }

  /** Of the postmaster, whose children are the sessions. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("PostgreSQL does not run");
    return pid;
  }

  /** Whom its files belong to, when that is another than the test's. */
  get user(): { uid: number; gid: number } | undefined {
    return this.#user;
  }

  urlOf(database: string, user = USER, password = this.password): string {
    return `postgres://${user}:${password}@127.0.0.1:${this.port}/${database}`;
  }

  /** A new empty database; answers its URL. */
  async createDatabase(options = ""): Promise<string> {
    const name = `mooring_${++this.#databases}`;
    await this.query(`CREATE DATABASE ${name} ${options}`);
    return this.urlOf(name);
  }

  /** A copy of a database that has no session; answers its URL. */
  async copyDatabase(url: string): Promise<string> {
    return this.createDatabase(`TEMPLATE ${nameOf(url)}`);
  }

  /** Puts the copy in the place of a database that has no session. */
  async replaceDatabase(url: string, copy: string): Promise<void> {
    await this.dropDatabase(url);
    await this.query(`ALTER DATABASE ${nameOf(copy)} RENAME TO ${nameOf(url)}`);
  }

  async dropDatabase(url: string): Promise<void> {
    await this.query(`DROP DATABASE ${nameOf(url)} WITH (FORCE)`);
  }

  /** Ends all sessions on the database, as kill -9 of their processes' clients would. */
  async terminate(url: string): Promise<void> {
    const name = new URL(url).pathname.slice(1);
    await this.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
  }

  /** One statement of the administrator's. */
  async query<R extends pg.QueryResultRow>(text: string, url = this.urlOf("postgres")): Promise<R[]> {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {});
    await client.connect();
    try {
      return (await client.query<R>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Waits until the administrator's statement, one boolean expression, is true. */
  async until(text: string): Promise<void> {
    for (const deadline = Date.now() + DEADLINE_MS; ; await delay(20)) {
      const [row] = await this.query(text);
      if (Object.values(row ?? {})[0] === true) return;
      if (Date.now() > deadline) throw new Error(`not true in ${DEADLINE_MS} ms: ${text}`);
    }
  }

  /** Starts the server after `down`. */
  async up(): Promise<void> {
    const settings = Object.entries(this.#settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    // It must end with its parent.
    const args = ["--pdeathsig", "INT", join(this.#bin, "postgres"), "-D", this.#data, ...settings];
    const child = spawn("setpriv", args, { ...this.#user, cwd: this.directory, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", chunk => (this.#log += chunk));
    this.#child = child;
    for (const deadline = Date.now() + DEADLINE_MS; ; await delay(20)) {
      const refusal = await this.query("SELECT 1").then(
        () => undefined,
        (error: Error) => error,
      );
      if (!refusal) return;
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`PostgreSQL does not start: ${this.#log || refusal.message}`);
      }
    }
  }

  /** `fast`: ends every session; `immediate`: as a crash would. */
  async down(how: "fast" | "immediate" = "fast"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit", { signal: AbortSignal.timeout(DEADLINE_MS) });
    child.kill(how === "fast" ? "SIGINT" : "SIGQUIT");
    await gone;
  }

  async #run(program: string, args: string[]): Promise<void> {
    const stdio = ["ignore", "pipe", "pipe"] as const;
    const child = spawn(join(this.#bin, program), args, { ...this.#user, cwd: this.directory, stdio: [...stdio] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", chunk => (output += chunk));
    const [code] = await once(child, "exit");
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${output}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await rm(this.directory, { recursive: true, force: true });
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

const nameOf = (url: string): string => new URL(url).pathname.slice(1);
