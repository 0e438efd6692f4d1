import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { AgentBackendOptions } from "../../../cni/agent/calls/agent-backend.ts";
import { Calls } from "../../../cni/agent/calls/calls.ts";
import type { KeyedQueue } from "../../../cni/agent/calls/keyed-queue.ts";
import { ClaimBuilder } from "../../../cni/agent/claims/claim-builder.ts";
import type { Confirmations } from "../../../cni/agent/claims/confirmations.ts";
import { DefaultNetwork } from "../../../cni/agent/claims/default-network.ts";
import { AGENT_OPTIONS, type AgentConfig, deriveBridges } from "../../../cni/agent/config.ts";
import type { AgentIpam } from "../../../cni/agent/ipam/agent-ipam.ts";
import type { Journals } from "../../../cni/agent/ipam/journals.ts";
import type { Leases } from "../../../cni/agent/leases/leases.ts";
import type { UnreportedLeases } from "../../../cni/agent/leases/unreported-leases.ts";
import { AgentMetrics } from "../../../cni/agent/metrics.ts";
import { createNodeCore } from "../../../cni/agent/node-core.ts";
import { type NodePod, readNodePod } from "../../../cni/agent/pod/pods.ts";
import type { HeldPorts } from "../../../cni/agent/ports/held-ports.ts";
import type { Answer } from "../../../cni/dispatch.ts";
import { deliverJournal } from "../../../cni/journal/delivery.ts";
import type { Command, Environment } from "../../../cni/spec/environment.ts";
import type { KubeEvent } from "../../../ipam-server/kube/kube-events.ts";
import { readOptions } from "../../../ipam-server/process/options.ts";
import { FakeNode } from "../../fakes/datapath-memory.ts";
import { FakeIpam } from "../../fakes/ipam-server.ts";

const AGENT = { agentSocket: "/run/mooring/agent.sock" };

interface HarnessOptions {
  deadlineMs?: number;
  bridgeMappings?: string;
}

/** The agent between its socket and its node, with a fake datapath, a fake IPAM, and pods from the test. */
export class Harness implements AsyncDisposable {
  readonly events: KubeEvent[] = [];
  /** Pods that lost their address. */
  readonly faults: AddressFaultReport[];
  readonly calls: Calls;
  readonly held: HeldPorts;
  readonly queue: KeyedQueue;
  readonly journals: Journals;
  readonly leases: Leases;
  readonly unreported: UnreportedLeases;
  readonly confirmations: Confirmations;
  readonly client: AgentIpam;
  readonly dir: string;
  readonly ipam: FakeIpam;
  readonly node: FakeNode;
  readonly pods: Map<string, NodePod>;
  readonly namespaceAnnotations: Record<string, string>;
  readonly config: AgentConfig;
  readonly claims: ClaimBuilder;
  readonly metrics: AgentMetrics;
  readonly defaultNetwork = new DefaultNetwork("auto");
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    const { core, config, claims, metrics, world } = parts;
    this.#parts = parts;
    ({ dir: this.dir, ipam: this.ipam, node: this.node, pods: this.pods } = world);
    ({ held: this.held, queue: this.queue, journals: this.journals, leases: this.leases } = core);
    ({ unreported: this.unreported, confirmations: this.confirmations, ipam: this.client } = core);
    [this.config, this.claims, this.metrics] = [config, claims, metrics];
    this.namespaceAnnotations = world.namespaceAnnotations;
    this.events = parts.events;
    this.faults = parts.faults;
    const { journals, confirmations } = this;
    const backend: AgentBackendOptions = {
      ...{ config, bridges: deriveBridges(config), ipam: core.ipam, datapath: world.node.open(), claims, metrics },
      ...{ held: core.held, leases: core.leases, probes: core.probes, unreported: core.unreported },
      journalOf: name => journals.of(name),
      confirmLater: (claim, expected) => confirmations.add(claim, expected),
    };
    const { log, deadlineMs } = parts;
    const events = { write: (event: KubeEvent) => void this.events.push(event) };
    this.calls = new Calls({
      backend,
      defaultNetwork: this.defaultNetwork,
      queue: this.queue,
      log,
      deadlineMs,
      events,
    });
  }

  static async start({ deadlineMs = 10_000, bridgeMappings }: HarnessOptions = {}): Promise<Harness> {
    const dir = await mkdtemp(join(tmpdir(), "mooring-agent-"));
    const ipam = await FakeIpam.start();
    const world = { dir, ipam, node: new FakeNode(), pods: new Map(), namespaceAnnotations: {} };
    return new Harness(await assemble(world, deadlineMs, true, bridgeMappings));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.core[Symbol.asyncDispose]();
    if (!this.#parts.ownsWorld) return;
    await this.ipam[Symbol.asyncDispose]();
    // Posted reports may still be journaled.
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Starts the next agent process on the same node: it has the disk, OVS and the pods, and no memory. */
  async takeOver(): Promise<Harness> {
    return new Harness(await assemble(this.#parts.world, 10_000, false));
  }

  /** The time of the clock that leases are measured with. */
  set timeMs(ms: number) {
    this.#parts.clock.timeMs = ms;
  }

  get timeMs(): number {
    return this.#parts.clock.timeMs;
  }

  /** Delivers the journals once, as `Delivery` does. */
  async deliver(): Promise<void> {
    const settleClaim = (...outcome: Parameters<UnreportedLeases["settle"]>) => this.unreported.settle(...outcome);
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

  /** Claims the pod's port before its ADD, as `Preclaims` does. */
  async preclaim(pod: NodePod): Promise<void> {
    const claim = await this.claims.derivePreclaim(pod);
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

interface AddressFaultReport {
  ownerUid: string | undefined;
  reason: string;
  message: string;
}

/** The state of a node that outlives an agent process. */
interface World {
  dir: string;
  ipam: FakeIpam;
  node: FakeNode;
  pods: Map<string, NodePod>;
  namespaceAnnotations: Record<string, string>;
}

type Parts = Awaited<ReturnType<typeof assemble>>;

async function assemble(world: World, deadlineMs: number, ownsWorld: boolean, bridgeMappings?: string) {
  const { dir, ipam, node, pods, namespaceAnnotations } = world;
  const flags = { server: ipam.url, networkSelector: "env=prod", availabilityZone: "az1", bridgeMappings };
  const options = readOptions(AGENT_OPTIONS, { flags, env: {}, readFile: () => "" });
  const config: AgentConfig = { ...options, nodeName: "node-a", cluster: "c1" };
  const claims = new ClaimBuilder({
    config,
    now: () => new Date(),
    pods: {
      find: async (_namespace, name) => pods.get(name),
      namespaceOf: async ({ namespace: name }) => ({ name, annotations: namespaceAnnotations }),
    },
  });
  const clock = { timeMs: 0 };
  const events: KubeEvent[] = [];
  const faults: AddressFaultReport[] = [];
  const log = pino({ level: "silent" });
  const metrics = new AgentMetrics();
  const core = await createNodeCore({
    nodeName: "node-a",
    ipam: { url: ipam.url, timeoutMs: 500 },
    journalDir: join(dir, "journal"),
    datapath: node.open(),
    bridges: deriveBridges(config),
    condition: {
      setFault: (ownerUid, reason, message) => void faults.push({ ownerUid, reason, message }),
    },
    metrics,
    log,
    canUseLease: claim => claims.canUseLease(claim),
    now: () => clock.timeMs,
    loadsHeldPorts: false,
    delivers: false,
  });
  metrics.registerGauges({
    journalDepth: () => 0,
    heldPorts: () => 0,
    watchLastEventAgeSeconds: () => 0,
    isIpamReachable: () => true,
    leasedFrom: () => Array.from(core.leases.ports(), ({ network }) => network),
  });
  return { core, config, claims, metrics, clock, events, faults, log, world, deadlineMs, ownsWorld };
}

export function readError({ stdout, exitCode }: Answer): { code: number; msg: string } {
  if (exitCode !== 1) throw new Error(`the call succeeded: ${stdout}`);
  return JSON.parse(stdout);
}
