import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { type CommandOptions, type CommandResult, must, run } from "./command.ts";
import type { Ledger } from "./ledger.ts";

/** A network namespace of the lab, as a place to run things in. */
export class Endpoint {
  readonly name: string;
  readonly namespace: string;
  readonly #ledger: Ledger;

  constructor(ledger: Ledger, name: string) {
    this.#ledger = ledger;
    this.name = name;
    this.namespace = `${ledger.id}-${name}`;
  }

  /** The path that a runtime gives as CNI_NETNS. */
  get netns(): string {
    return `/run/netns/${this.namespace}`;
  }

  /** What the processes started here print. */
  get logPath(): string {
    return join(this.#ledger.dir, "log", `${this.name}.log`);
  }

  async create(): Promise<void> {
    await this.#ledger.addNamespace(this.namespace);
  }

  async remove(): Promise<void> {
    await this.#ledger.removeNamespace(this.namespace);
  }

  /** Argument vector that runs `argv` inside; `ip netns exec` would also remount /sys each time. */
  inside(argv: readonly string[]): string[] {
    return ["nsenter", `--net=${this.netns}`, ...argv];
  }

  run(argv: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return run(this.inside(argv), options);
  }

  must(argv: readonly string[], options?: CommandOptions): Promise<string> {
    return must(this.inside(argv), options);
  }

  /** Several `ip` commands in one process, one a line. */
  async ip(commands: string): Promise<void> {
    await must(["ip", "-n", this.namespace, "-batch", "-"], { input: commands });
  }

  /** Starts a process that ends with the lab, or by `stop`. */
  start(argv: readonly string[], options: { env?: NodeJS.ProcessEnv; piped?: boolean } = {}): ChildProcess {
    return this.#ledger.start(this.inside(argv), `${this.name}.log`, options);
  }

  stop(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
    return this.#ledger.stop(child, signal);
  }

  /** What `ip -json` shows of one interface; undefined when there is none. */
  async readInterface(name: string): Promise<InterfaceView | undefined> {
    const { code, stdout } = await this.run(["ip", "-json", "address", "show", "dev", name]);
    if (code !== 0) return undefined;
    const [view] = JSON.parse(stdout) as IpAddressJson[];
    if (!view) return undefined;
    const addresses = view.addr_info.filter(({ scope }) => scope === "global").map(({ local }) => local);
    return { mac: view.address, mtu: view.mtu, addresses };
  }
}

export interface InterfaceView {
  mac: string;
  mtu: number;
  /** Global ones only, IPv4 first as the kernel lists them. */
  addresses: string[];
}

interface IpAddressJson {
  address: string;
  mtu: number;
  addr_info: { local: string; scope: string }[];
}
