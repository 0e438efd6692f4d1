import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Answer, dispatch } from "../../../cni/dispatch.ts";
import type { Command, Environment } from "../../../cni/spec/environment.ts";
import type { VerbBackend } from "../../../cni/verbs/backend.ts";
import { createExecutableBackend } from "../../../cni/verbs/executable-backend.ts";
import { FakeNode } from "../../fakes/datapath-memory.ts";
import { FakeIpam } from "../../fakes/ipam-server.ts";

/** A node with a fake datapath and a fake IPAM, and the dispatcher as the executable runs it. */
export class Harness implements AsyncDisposable {
  readonly node = new FakeNode();
  readonly log: string[] = [];
  readonly dir: string;
  readonly ended = new AbortController();
  ipam: FakeIpam;
  /** What openDatapath rejects with. */
  openFailure: Error | undefined;

  private constructor(dir: string, ipam: FakeIpam) {
    this.dir = dir;
    this.ipam = ipam;
  }

  static async start(): Promise<Harness> {
    return new Harness(await mkdtemp(join(tmpdir(), "mooring-cni-")), await FakeIpam.start());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ipam[Symbol.asyncDispose]();
    await rm(this.dir, { recursive: true, force: true });
  }

  get journalDir(): string {
    return join(this.dir, "journal");
  }

  /** Names of what the journal holds. */
  async journaled(): Promise<string[]> {
    const names = await readdir(join(this.journalDir, "moored")).catch(() => []);
    return names.filter(name => name.endsWith(".json"));
  }

  async write(name: string, text: string): Promise<string> {
    await writeFile(join(this.dir, name), text);
    return join(this.dir, name);
  }

  serveIpam(listen: { path: string }): Promise<FakeIpam> {
    return FakeIpam.start(listen);
  }

  /** Stops the IPAM; `ipamUp` starts one with only its ports at the same address. */
  async ipamDown(): Promise<{ ipamUp: () => Promise<void> }> {
    const { port, ports } = this.ipam;
    await this.ipam[Symbol.asyncDispose]();
    return {
      ipamUp: async () => {
        this.ipam = await FakeIpam.start({ port });
        for (const [name, kept] of ports) this.ipam.ports.set(name, kept);
      },
    };
  }

  /** The configuration of a valid call; keys given as undefined are left out. */
  conf(more: Record<string, unknown> = {}): Record<string, unknown> {
    const complete = {
      cniVersion: "1.1.0",
      name: "moored",
      type: "mooring",
      bridge: "br-int",
      ipamServer: this.ipam.url,
      host: "node-a",
      cluster: "c1",
      networkSelector: "env=prod",
      journalDir: this.journalDir,
      timeoutMs: 2000,
      ...more,
    };
    return Object.fromEntries(Object.entries(complete).filter(([, value]) => value !== undefined));
  }

  call(command: Command | undefined, conf: object | string = {}, env: Environment = {}): Promise<Answer> {
    const backend: VerbBackend = {
      ...createExecutableBackend({ log: line => this.log.push(line), signal: this.ended.signal }),
      openDatapath: async () => {
        if (this.openFailure !== undefined) throw this.openFailure;
        return this.node.open();
      },
    };
    const stdin = typeof conf === "string" ? conf : JSON.stringify(this.conf({ ...conf }));
    return dispatch({ env: { ...ENV, CNI_COMMAND: command, ...env }, stdin }, backend);
  }

  /** A call that must succeed; its result, or undefined where the verb answers nothing. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into results of every version
  async succeed(command: Command, conf: object = {}, env: Environment = {}): Promise<any> {
    const { stdout, exitCode } = await this.call(command, conf, env);
    if (exitCode !== 0) throw new Error(`${command} failed: ${stdout}`);
    return stdout === "" ? undefined : JSON.parse(stdout);
  }

  /** A call that must fail; its error document. */
  async fail(command: Command | undefined, conf: object | string = {}, env: Environment = {}): Promise<ErrorDocument> {
    const { stdout, exitCode } = await this.call(command, conf, env);
    if (exitCode !== 1) throw new Error(`${command} succeeded: ${stdout}`);
    return JSON.parse(stdout);
  }
}

export interface ErrorDocument {
  cniVersion: string;
  code: number;
  msg: string;
  details?: string;
}

/** A pod's ADD as containerd makes it; the namespace is any path that is there. */
export const ENV: Environment = {
  CNI_CONTAINERID: "sandbox-1",
  CNI_NETNS: "/proc/self/ns/net",
  CNI_IFNAME: "eth0",
  CNI_ARGS:
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=uid-1;K8S_POD_INFRA_CONTAINER_ID=sandbox-1",
};
