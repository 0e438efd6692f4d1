import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { waitFor } from "../../scripts/lab/command.ts";
import { BRIDGE, type LabNode } from "../../scripts/lab/node.ts";
import { NODE, ROOT } from "../../scripts/lab/paths.ts";
import type { PodSandbox } from "../../scripts/lab/runtime.ts";
import { describePlugged, expectSuccess, type Lab, openLab, type Plugged } from "../lab/lab.ts";
import { LabKube, type PodSpec } from "./kube.ts";

/** A node's agent: the real process, in the node's namespace. */
export interface LabAgent {
  readonly socket: string;
  readonly journalDir: string;
  start(...options: string[]): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** `GET /metrics` and its like. */
  read(path: string): Promise<{ status: number; body: string }>;
  log(): string;
}

export interface AgentLab extends AsyncDisposable {
  readonly lab: Lab;
  readonly kube: LabKube;
  readonly agents: readonly [LabAgent, LabAgent];
  /** What the installer writes for the node. */
  conf(node: LabNode): object;
  /** A pod in Kubernetes and a sandbox for it, not plugged yet. */
  createPod(node: LabNode, name: string, spec?: Partial<PodSpec>): Promise<PodSandbox>;
  /** ADD that must succeed. */
  plug(node: LabNode, sandbox: PodSandbox): Promise<Plugged>;
}

export async function openAgentLab(): Promise<AgentLab> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await openLab());
  const kube = stack.use(await LabKube.start(lab.topology));
  await kube.putNamespace("default");
  await kube.putNamespace("kube-system");
  const kubeconfig = join(lab.topology.dir, "kubeconfig");
  writeFileSync(kubeconfig, formatKubeconfig(kube.url));
  const agents = [lab.a, lab.b].map(node => createAgent(lab, node, kubeconfig)) as [LabAgent, LabAgent];
  stack.defer(async () => void (await Promise.all(agents.map(agent => agent.stop()))));
  await Promise.all(agents.map(agent => agent.start()));
  const agentOf = (node: LabNode) => agents[node === lab.a ? 0 : 1];
  const owned = stack.move();
  const conf = (node: LabNode) => ({
    // Undefined keys are not sent: the lab's own configuration names the IPAM.
    ...Object.fromEntries(["ipamServer", "host", "cluster", "retain", "networkSelector"].map(key => [key, undefined])),
    agentSocket: agentOf(node).socket,
    journalDir: agentOf(node).journalDir,
  });
  return {
    lab,
    kube,
    agents,
    conf,
    async createPod(node, name, spec = {}) {
      const uid = spec.uid ?? randomUUID();
      await kube.putPod({ name, uid, nodeName: node.name, ...spec });
      return lab.runtime.create(name, uid);
    },
    async plug(node, sandbox) {
      return describePlugged(node, sandbox, conf(node), await lab.runtime.add(node, sandbox, conf(node)));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export async function unplug({ lab, conf }: AgentLab, plugged: Plugged): Promise<void> {
  expectSuccess(await lab.runtime.del(plugged.node, plugged, conf(plugged.node)));
  await plugged.endpoint.remove();
}

/** `program` is the agent's source, or a bundle of it. */
export function createAgent(
  lab: Pick<Lab, "topology" | "ipam">,
  node: LabNode,
  kubeconfig: string,
  program = join(ROOT, "cni/agent/main.ts"),
): LabAgent {
  const dir = join(lab.topology.dir, node.namespace, "agent");
  const journalDir = join(dir, "journal");
  mkdirSync(journalDir, { recursive: true });
  const socket = join(dir, "agent.sock");
  const health = join(dir, "health.sock");
  const argv = [
    ...[NODE, program, "--node-name", node.name, "--cluster", "lab"],
    ...["--server", lab.ipam.url, "--kubeconfig", kubeconfig, "--socket", socket, "--journal-dir", journalDir],
    ...["--bridge", BRIDGE, "--ovsdb", node.ovs.remote, "--health-listen", `unix:${health}`],
    ...["--network-selector", "env=prod", "--log-level", "debug"],
  ];
  let child: ChildProcess | undefined;
  const read = async (path: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
    request({ socketPath: health, path }, async response => {
      resolve({ status: response.statusCode ?? 0, body: await text(response) });
    })
      .on("error", reject)
      .end();
    return promise;
  };
  const log = () => readFileSync(node.logPath, "utf8");
  return {
    socket,
    journalDir,
    read,
    log,
    async start(...options) {
      const started = node.start([...argv, ...options]);
      child = started;
      await waitFor(`the agent of ${node.name} to be ready`, async () => {
        if (started.exitCode !== null) throw new Error(`the agent ended: ${log()}`);
        return (await read("/readyz").catch(() => undefined))?.status === 200;
      }).catch(error => {
        throw new Error(`${error.message}: ${log()}`);
      });
    },
    async stop(signal) {
      if (child) await node.stop(child, signal);
      child = undefined;
    },
  };
}

export function formatKubeconfig(server: string): string {
  const named = (name: string, key: string, value: object) => [{ name, [key]: value }];
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "lab",
    clusters: named("lab", "cluster", { server, "insecure-skip-tls-verify": true }),
    users: named("lab", "user", {}),
    contexts: named("lab", "context", { cluster: "lab", user: "lab" }),
  });
}
