import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import koffi from "koffi";

const CLONE_NEWNET = 0x40000000;
const libc = koffi.load("libc.so.6");
const unshare = libc.func("int unshare(int flags)");
const setns = libc.func("int setns(int fd, int nstype)");

/** Why these tests cannot run here, or false: given to node:test as `skip`. */
export const skip: string | false =
  process.getuid?.() !== 0
    ? "needs root"
    : spawnSync("ovs-vswitchd", ["--version"]).error
      ? "needs Open vSwitch (openvswitch-switch)"
      : false;

/** `netdev` here; `system` where the kernel has Open vSwitch, such as in test/cni/ovs-vm. */
export const datapathType = process.env.MOORING_TEST_DATAPATH ?? "netdev";

/** How long a test waits for anything. More where everything is slow, such as under emulation. */
export const testTimeoutMs = Number(process.env.MOORING_TEST_PATIENCE_MS ?? 20_000);

let isolated = false;

/**
 * Moves this process into a netns of its own, the node of these tests: nothing they create is visible outside, and all
 * of it ends with the process.
 */
function isolate(): void {
  if (isolated) return;
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: errno ${koffi.errno()}`);
  isolated = true;
  run("ip", "link", "set", "lo", "up");
}

/** Runs a program and returns its output; throws with its stderr if it fails. */
export function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr.trim() || stdout.trim() || status}`);
  return stdout;
}

/** Resolves when `condition` returns true; rejects at the deadline. */
export async function eventually<T>(what: string, condition: () => T | Promise<T>): Promise<T> {
  const end = performance.now() + testTimeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

/** A pod's network namespace, held open by a descriptor of this process. */
export class Pod implements Disposable {
  readonly netns: string;
  readonly #fd: number;
  #open = true;

  constructor() {
    const home = openSync("/proc/thread-self/ns/net", "r");
    if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: errno ${koffi.errno()}`);
    this.#fd = openSync("/proc/thread-self/ns/net", "r");
    if (setns(home, CLONE_NEWNET) !== 0) process.abort();
    closeSync(home);
    this.netns = `/proc/${process.pid}/fd/${this.#fd}`;
  }

  run(program: string, ...args: string[]): string {
    return run("nsenter", `--net=${this.netns}`, program, ...args);
  }

  spawn(program: string, ...args: string[]): ChildProcess {
    return spawn("nsenter", [`--net=${this.netns}`, program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  }

  /** True if one echo request is answered. */
  pings(address: string, seconds = 2): boolean {
    const args = [`--net=${this.netns}`, "ping", "-n", "-c", "1", "-W", String(seconds), address];
    return spawnSync("nsenter", args).status === 0;
  }

  links(): string[] {
    return (JSON.parse(this.run("ip", "-j", "link")) as { ifname: string }[])
      .map(link => link.ifname)
      .filter(name => !["lo", "sit0", "ip6tnl0", "tunl0", "gre0", "erspan0", "gretap0"].includes(name));
  }

  [Symbol.dispose](): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}

/** A private Open vSwitch in this test's own namespace, with a bridge br-int. */
export class Ovs implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "mooring-ovs-"));
  readonly remote = `unix:${this.directory}/db.sock`;
  #database: ChildProcess | undefined;
  #switch: ChildProcess | undefined;

  private constructor() {}

  static async start(): Promise<Ovs> {
    isolate();
    const ovs = new Ovs();
    try {
      run("ovsdb-tool", "create", `${ovs.directory}/conf.db`, "/usr/share/openvswitch/vswitch.ovsschema");
      await ovs.startDatabase();
      ovs.vsctl("--no-wait", "init");
      await ovs.startSwitch();
      ovs.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", `datapath_type=${datapathType}`);
      return ovs;
    } catch (error) {
      await ovs[Symbol.asyncDispose]();
      throw error;
    }
  }

  vsctl(...args: string[]): string {
    return run("ovs-vsctl", `--db=${this.remote}`, "--timeout=20", ...args).trim();
  }

  appctl(...args: string[]): string {
    return run("ovs-appctl", `--target=${this.directory}/vswitchd.ctl`, ...args);
  }

  /** What decides a port's VLANs, as OVS prints it. */
  access(port: string): { tag: string; vlan_mode: string; trunks: string } {
    const [tag = "", mode = "", trunks = ""] = this.vsctl("get", "port", port, "tag", "vlan_mode", "trunks").split(
      "\n",
    );
    return { tag, vlan_mode: mode, trunks };
  }

  /** What OVS does with a packet, by its own trace: the datapath actions. */
  trace(flow: string): string {
    return /Datapath actions: (.*)/.exec(this.appctl("ofproto/trace", "br-int", flow))?.[1] ?? "";
  }

  /** Ports of br-int. */
  ports(): string[] {
    return this.vsctl("list-ports", "br-int").split("\n").filter(Boolean);
  }

  async startDatabase(): Promise<void> {
    const args = [`--remote=p${this.remote}`, `--unixctl=${this.directory}/ovsdb.ctl`];
    this.#database = this.#spawn("ovsdb-server", `${this.directory}/conf.db`, ...args);
    // The socket exists a moment before it accepts connections.
    await eventually("ovsdb-server answers", () => spawnSync("ovsdb-client", ["list-dbs", this.remote]).status === 0);
  }

  async startSwitch(): Promise<void> {
    this.#switch = this.#spawn("ovs-vswitchd", this.remote, `--unixctl=${this.directory}/vswitchd.ctl`);
    await eventually("ovs-vswitchd listens", () => existsSync(`${this.directory}/vswitchd.ctl`));
  }

  async stopDatabase(): Promise<void> {
    await stop(this.#database);
    rmSync(`${this.directory}/db.sock`, { force: true });
  }

  /** ovs-vswitchd answers nothing until it is stopped. */
  pauseSwitch(): void {
    this.#switch?.kill("SIGSTOP");
  }

  async stopSwitch(): Promise<void> {
    await stop(this.#switch);
    rmSync(`${this.directory}/vswitchd.ctl`, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopSwitch();
    await this.stopDatabase();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #spawn(program: string, ...args: string[]): ChildProcess {
    const quiet = ["-vconsole:off", "-vsyslog:off", "-vfile:off"];
    const env = { ...process.env, OVS_RUNDIR: this.directory };
    return spawn(program, [...args, ...quiet], { env, stdio: "ignore" });
  }
}

async function stop(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
