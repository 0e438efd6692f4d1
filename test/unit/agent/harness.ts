import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { AgentBackendOptions } from "../../../cni/agent/calls/agent-backend.ts";
import { Calls } from "../../../cni/agent/calls/calls.ts";
import { KeyedQueue } from "../../../cni/agent/calls/keyed-queue.ts";
import { ClaimBuilder } from "../../../cni/agent/claims/claim-builder.ts";
import { Confirmations } from "../../../cni/agent/claims/confirmations.ts";
import { AGENT_OPTIONS, type AgentConfig } from "../../../cni/agent/config.ts";
import { type AgentIpam, createAgentIpam } from "../../../cni/agent/ipam/agent-ipam.ts";
import { Journals } from "../../../cni/agent/ipam/journals.ts";
import { Leases } from "../../../cni/agent/leases/leases.ts";
import { UnreportedLeases } from "../../../cni/agent/leases/unreported-leases.ts";
import { AgentMetrics } from "../../../cni/agent/metrics.ts";
import { type NodePod, readNodePod } from "../../../cni/agent/pod/pods.ts";
import { HeldPorts } from "../../../cni/agent/ports/held-ports.ts";
import { RejectedPorts } from "../../../cni/agent/ports/rejected-ports.ts";
import type { Answer } from "../../../cni/dispatch.ts";
import { deliverJournal } from "../../../cni/journal/delivery.ts";
import type { Command, Environment } from "../../../cni/spec/environment.ts";
import type { KubeEvent } from "../../../ipam-server/kube/kube-events.ts";
import { readOptions } from "../../../ipam-server/process/options.ts";
import { FakeNode } from "../../fakes/datapath-memory.ts";
import { FakeIpam } from "../../fakes/ipam-server.ts";

const AGENT = { agentSocket: "/run/mooring/agent.sock" };

/** The agent's part between socket and node: a fake datapath and a fake IPAM, pods and annotations as the test says. */
export class AgentBench implements AsyncDisposable {
  readonly node: FakeNode;
  readonly held = new HeldPorts();
  readonly turns = new KeyedQueue();
  readonly pods: Map<string, NodePod>;
  readonly #before: AgentBench | undefined;
  readonly namespaceAnnotations: Record<string, string> = {};
  readonly events: KubeEvent[] = [];
  readonly dir: string;
  readonly ipam: FakeIpam;
  readonly client: AgentIpam;
  readonly config: AgentConfig;
  readonly claims: ClaimBuilder;
  readonly confirmations: Confirmations;
  readonly calls: Calls;
  readonly metrics: AgentMetrics;
  readonly journals: Journals;
  readonly leases: Leases;
  readonly takings: UnreportedLeases;
  /** Of the clock that leases are measured by. */
  timeMs = 0;

  private constructor(dir: string, ipam: FakeIpam, deadlineMs: number, before?: AgentBench) {
    this.dir = dir;
    this.ipam = ipam;
    this.#before = before;
    this.node = before?.node ?? new FakeNode();
    this.pods = before?.pods ?? new Map();
    const flags = { server: ipam.url, networkSelector: "env=prod", availabilityZone: "az1" };
    const options = readOptions(AGENT_OPTIONS, { flags, env: {}, readFile: () => "" });
    this.config = { ...options, nodeName: "node-a", cluster: "c1" };
    this.client = createAgentIpam({ url: ipam.url, timeoutMs: 500 });
    const log = pino({ level: "silent" });
    this.metrics = new AgentMetrics({
      journalDepth: () => 0,
      heldPorts: () => 0,
      watchSilenceSeconds: () => 0,
      isIpamReachable: () => true,
      leasedFrom: () => Array.from(this.leases.ports(), ({ network }) => network),
    });
    this.claims = new ClaimBuilder({
      config: this.config,
      now: () => new Date(),
      pods: {
        find: async (_namespace, name) => this.pods.get(name),
        namespace: async name => ({ name, annotations: this.namespaceAnnotations }),
      },
    });
    const { held, turns, metrics, client } = this;
    const events = { write: (event: KubeEvent) => void this.events.push(event) };
    const refused = new RejectedPorts({
      datapath: this.node.open(),
      held,
      pods: this.#podSource(),
      events,
      metrics,
      log,
    });
    this.confirmations = new Confirmations({ ipam: client, held, turns, refused });
    this.journals = new Journals(join(dir, "journal"));
    const { journals } = this;
    held.isWhole = true;
    this.leases = new Leases({
      ipam: client,
      mayUse: claim => this.claims.mayUseLease(claim),
      metrics,
      log,
      now: () => this.timeMs,
      wallClock: () => new Date(),
    });
    this.takings = new UnreportedLeases({ ipam: client, held, turns, refused, metrics, log, onRecorded: () => {} });
    const home: AgentBackendOptions = {
      config: this.config,
      ipam: client,
      datapath: this.node.open(),
      claims: this.claims,
      held,
      leases: this.leases,
      takings: this.takings,
      metrics,
      journalOf: name => journals.of(name),
      confirmLater: (claim, expected) => this.confirmations.add(claim, expected),
    };
    this.calls = new Calls({ home, turns, log, deadlineMs, events });
  }

  static async start({ deadlineMs = 10_000 } = {}): Promise<AgentBench> {
    return new AgentBench(await mkdtemp(join(tmpdir(), "mooring-agent-")), await FakeIpam.start(), deadlineMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leases[Symbol.asyncDispose]();
    await this.client[Symbol.asyncDispose]();
    if (this.#before !== undefined) return;
    await this.ipam[Symbol.asyncDispose]();
    // Reports that nobody waits for may still be journaled.
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The next process on the same node: knows nothing but what is on the disk, and the pods. */
  takeOver(): AgentBench {
    return new AgentBench(this.dir, this.ipam, 10_000, this);
  }

  #podSource() {
    const { pods } = this;
    return {
      get items() {
        return new Map([...pods.values()].map(pod => [pod.uid, pod]));
      },
    };
  }

  /** As `Delivery` does it. */
  async deliver(): Promise<void> {
    const settleClaim = (...told: Parameters<UnreportedLeases["settle"]>) => this.takings.settle(...told);
    for (const journal of this.journals.all()) {
      await deliverJournal(journal, this.client, { host: "node-a", log: () => {}, settleClaim });
    }
  }

  /** A pod of a Deployment. */
  addReplica(suffix: string, annotations: Record<string, string> = {}): NodePod {
    return this.addPod(`web-7d9c5b-${suffix}`, annotations, undefined, { generateName: "web-7d9c5b-" });
  }

  addPod(name: string, annotations: Record<string, string> = {}, uid = `uid-of-${name}`, more: object = {}): NodePod {
    const metadata = {
      name,
      namespace: "default",
      uid,
      annotations,
      creationTimestamp: "2026-11-20T08:00:00Z",
      ...more,
    };
    const pod = readNodePod({ metadata, spec: { nodeName: "node-a" }, status: { phase: "Pending" } });
    this.pods.set(name, pod);
    return pod;
  }

  /** As `ClaimsAhead` does it. */
  async claimAhead(pod: NodePod): Promise<void> {
    const claim = await this.claims.deriveAhead(pod);
    const attachment = await this.client.claim(claim);
    this.held.put(pod.uid, "eth0", { port: attachment.port, attachment, claim });
  }

  async journaled(): Promise<string[]> {
    const names = await readdir(join(this.dir, "journal/moored")).catch(() => []);
    return names.filter(name => name.endsWith(".json"));
  }

  call(
    command: Command,
    pod: string,
    sandbox: string,
    more: { env?: Environment; gone?: AbortSignal; conf?: object } = {},
  ) {
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: sandbox,
      CNI_NETNS: "/proc/self/ns/net",
      CNI_IFNAME: "eth0",
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=${this.pods.get(pod)?.uid ?? "gone"}`,
      ...more.env,
    };
    const conf = { cniVersion: "1.1.0", name: "moored", type: "mooring", ...AGENT, ...more.conf };
    return this.calls.answer({ env, stdin: JSON.stringify(conf) }, more.gone ?? new AbortController().signal);
  }
}

export function readError({ stdout, exitCode }: Answer): { code: number; msg: string } {
  if (exitCode !== 1) throw new Error(`the call succeeded: ${stdout}`);
  return JSON.parse(stdout);
}
