import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { must, run, waitFor } from "./command.ts";
import type { Ledger } from "./ledger.ts";

const SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";

export type DatapathType = "system" | "netdev";

/** The kernel's datapath where the kernel has it, else the userspace one. */
export async function detectDatapathType(): Promise<DatapathType> {
  if (existsSync("/sys/module/openvswitch")) return "system";
  const loaded = await run(["modprobe", "openvswitch"]).catch(() => undefined);
  return loaded?.code === 0 ? "system" : "netdev";
}

/** One Open vSwitch (ovsdb-server and ovs-vswitchd) in a namespace, with its files in a directory of its own. */
export class Ovs {
  readonly dir: string;
  readonly datapathType: DatapathType;
  readonly #ledger: Ledger;
  readonly #namespace: string;
  #processes: ChildProcess[] = [];

  constructor(ledger: Ledger, namespace: string, datapathType: DatapathType) {
    this.#ledger = ledger;
    this.#namespace = namespace;
    this.datapathType = datapathType;
    this.dir = join(ledger.dir, namespace);
    mkdirSync(this.dir, { recursive: true });
  }

  /** As the plugin's `ovsdb` key wants it. */
  get remote(): string {
    return `unix:${join(this.dir, "db.sock")}`;
  }

  async start(): Promise<void> {
    const database = join(this.dir, "conf.db");
    if (!existsSync(database)) await must(["ovsdb-tool", "create", database, SCHEMA]);
    const quiet = ["-vconsole:warn", "-vsyslog:off", "-vfile:off"];
    const env = { ...process.env, OVS_RUNDIR: this.dir };
    const start = (program: string, ...args: string[]) => {
      const argv = ["nsenter", `--net=/run/netns/${this.#namespace}`, program, ...args, ...quiet];
      const control = `--unixctl=${join(this.dir, `${program}.ctl`)}`;
      this.#processes.push(this.#ledger.start([...argv, control], `${this.#namespace}-${program}.log`, { env }));
    };
    start("ovsdb-server", database, `--remote=p${this.remote}`);
    // The socket exists a moment before it accepts connections.
    const list = ["ovsdb-client", "list-dbs", this.remote];
    await waitFor("ovsdb-server", async () => (await run(list)).code === 0);
    await this.vsctl("--no-wait", "init");
    start("ovs-vswitchd", this.remote);
    // Without --no-wait, ovs-vsctl comes back when ovs-vswitchd has taken the configuration in.
    await this.vsctl("show");
  }

  /** Stops both daemons; the database stays, as it does when a host's service restarts. */
  async stop(): Promise<void> {
    for (const child of this.#processes.splice(0).reverse()) await this.#ledger.stop(child);
  }

  async vsctl(...args: string[]): Promise<string> {
    return (await must(["ovs-vsctl", `--db=${this.remote}`, "--timeout=15", ...args])).trim();
  }

  /** `ovs-appctl` to ovs-vswitchd, for looking into the datapath (`fdb/show br-int`). */
  async appctl(...args: string[]): Promise<string> {
    return await must(["ovs-appctl", "-t", join(this.dir, "ovs-vswitchd.ctl"), ...args]);
  }

  async addBridge(name: string): Promise<void> {
    await this.vsctl(
      ...["--may-exist", "add-br", name, "--", "set", "bridge", name],
      ...[`datapath_type=${this.datapathType}`, "fail_mode=standalone"],
    );
  }
}
