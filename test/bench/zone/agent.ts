import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { KeyedQueue } from "../../../cni/agent/calls/keyed-queue.ts";
import { Confirmations } from "../../../cni/agent/claims/confirmations.ts";
import { type AgentIpam, createAgentIpam } from "../../../cni/agent/ipam/agent-ipam.ts";
import { Delivery } from "../../../cni/agent/ipam/delivery.ts";
import { followEvents } from "../../../cni/agent/ipam/event-follower.ts";
import { Journals } from "../../../cni/agent/ipam/journals.ts";
import type { AgentMetrics } from "../../../cni/agent/metrics.ts";
import { HeldPorts } from "../../../cni/agent/ports/held-ports.ts";
import { ERROR_CODES, GAP, IpamError, type MooringEvent, type Port } from "../../../ipam-server/contract/index.ts";
import { claimOf, type ZonePod } from "./pod.ts";
import { countError, type Seen } from "./record.ts";

export interface SimulatedAgentOptions {
  name: string;
  url: string;
  /** Its journals are real. */
  journalDir: string;
  metrics: AgentMetrics;
  log: Logger;
  /** What it sees goes where this says now. */
  seen(): Seen;
}

/** As the real agent has them. */
const IPAM_TIMEOUT_MS = 8_000;
const RELEASE_PATIENCE = { timeoutMs: 3000, repeats: 1 };
const REPORT_PATIENCE = { timeoutMs: 1000, repeats: 0 };
const READ_RETRY_MS = [250, 500, 1000, 2000, 5000, 10_000] as const;
/** What the kubelet pauses before it tries a sandbox again, each time more, and never all pods at the same moment. */
const KUBELET_RETRY_MS = [1000, 2000, 4000] as const;
const GIVE_UP_MS = 180_000;
/** The runtime makes the sandbox before it calls ADD. */
const SANDBOX_MS = { least: 50, more: 200 };

/**
 * A node's agent with everything of the real one that talks to the IPAM: its client, its batches, its event stream, its
 * journals and their delivery. Datapath, kubelet and Kubernetes are played.
 */
export class SimulatedAgent {
  readonly #options: SimulatedAgentOptions;
  readonly #journals: Journals;
  /** By port name, as the node's sandboxes are. */
  readonly #running = new Map<string, { pod: ZonePod; port: Port }>();
  /** Calls that are under way. */
  readonly #busy = new Set<string>();
  #life: { stop: AbortController; ipam: AgentIpam; delivery: Delivery; over: Promise<unknown> } | undefined;
  #isFollowing = false;
  #comparing: Promise<void> | undefined;

  constructor(options: SimulatedAgentOptions) {
    this.#options = options;
    this.#journals = new Journals(options.journalDir);
  }

  start(): void {
    const { name: nodeName, url, metrics, log } = this.#options;
    const stop = new AbortController();
    const ipam = createAgentIpam({
      url,
      timeoutMs: IPAM_TIMEOUT_MS,
      signal: stop.signal,
      onBack: () => delivery.kick(),
    });
    const held = new HeldPorts();
    const refused = { unplug: async () => {} };
    const confirmations = new Confirmations({ ipam, held, turns: new KeyedQueue(), refused });
    const takings = { settle: async () => {} };
    const journals = this.#journals;
    const delivery: Delivery = new Delivery({ nodeName, ipam, journals, confirmations, takings, metrics, log });
    this.#life = { stop, ipam, delivery, over: this.#follow(ipam, stop.signal) };
  }

  /** `crash`: the node lost its power, and with it all sandboxes. */
  async stop(how: "agent" | "crash"): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    life.stop.abort(new Error("the agent stops"));
    if (how === "crash") this.#running.clear();
    await Promise.all([life.over, this.#comparing, life.delivery[Symbol.asyncDispose]()]);
    await life.ipam[Symbol.asyncDispose]();
  }

  /** Nothing is under way, nothing is left to tell, and all has been compared since the stream broke. */
  get isSettled(): boolean {
    if (this.#life === undefined) return true;
    return this.#isFollowing && this.#comparing === undefined && this.#busy.size === 0 && this.#journals.depth() === 0;
  }

  get journalDepth(): number {
    return this.#journals.depth();
  }

  /** A pod is scheduled here: claimed ahead, then by ADD until it succeeds. Rejects when the node is lost or it never did. */
  async add(pod: ZonePod): Promise<Port> {
    this.#busy.add(pod.name);
    try {
      const life = this.#life;
      if (life === undefined) throw new Error(`${this.#options.name} is down`);
      const { seen } = this.#options;
      const aheadAt = performance.now();
      const ahead = life.ipam.claim(claimOf(pod, this.#options.name, "ahead")).then(
        () => void seen().aheadMs.push(performance.now() - aheadAt),
        error => countError(seen(), `ahead: ${IpamError.from(error).code}`),
      );
      await pause(SANDBOX_MS.least + Math.random() * SANDBOX_MS.more, life.stop.signal);
      const port = await this.#claimUntilDone(pod, life.ipam, life.stop.signal);
      await ahead;
      this.#running.set(pod.name, { pod, port });
      await this.#report(life.ipam, port);
      return port;
    } finally {
      this.#busy.delete(pod.name);
    }
  }

  /** A pod ends: as `release` of `cni/verbs/teardown.ts`, it always ends well. */
  async del({ name, sandboxId }: ZonePod): Promise<void> {
    const { seen, name: host } = this.#options;
    this.#busy.add(name);
    try {
      this.#running.delete(name);
      const release = { name, host, sandbox: { id: sandboxId, interface: "eth0" } };
      const startedAt = performance.now();
      try {
        const [result] = (await this.#life?.ipam.release([release], RELEASE_PATIENCE)) ?? [];
        if (result === undefined) throw new Error("the agent is down");
        if ("problem" in result) throw IpamError.fromProblem(result.problem);
        seen().releaseMs.push(performance.now() - startedAt);
      } catch (error) {
        countError(seen(), `release: ${IpamError.from(error).code}`);
        await this.#journals.of("zone").append({ kind: "release", release });
        seen().journaled++;
      }
    } finally {
      this.#busy.delete(name);
    }
  }

  /** As the kubelet and the runtime do, for as long as trying again may help. */
  async #claimUntilDone(pod: ZonePod, ipam: AgentIpam, signal: AbortSignal): Promise<Port> {
    const { seen, name } = this.#options;
    const startedAt = performance.now();
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      try {
        const { port } = await ipam.claim(claimOf(pod, name, "add"));
        seen().addMs.push(performance.now() - startedAt);
        return port;
      } catch (error) {
        const { code } = IpamError.from(error);
        countError(seen(), code);
        if (!ERROR_CODES[code].retry || performance.now() - startedAt > GIVE_UP_MS) throw error;
        const pauseMs = KUBELET_RETRY_MS[Math.min(attempt, KUBELET_RETRY_MS.length - 1)] ?? 1000;
        await pause(pauseMs * (0.75 + Math.random() / 2), signal);
      }
    }
  }

  async #report(ipam: AgentIpam, { name, epoch }: Port): Promise<void> {
    const report = { name, epoch, plane: "underlay", state: "ACTIVE" } as const;
    try {
      await ipam.report([report], REPORT_PATIENCE);
    } catch (error) {
      countError(this.#options.seen(), `report: ${IpamError.from(error).code}`);
      await this.#journals.of("zone").append({ kind: "report", report });
      this.#options.seen().journaled++;
    }
  }

  /** As `Fence`: the stream begins before the comparison, and after each break everything is compared. */
  async #follow(ipam: AgentIpam, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const after = await patiently(() => ipam.readLastSeq(), signal);
      if (after === undefined) return;
      const anew = new AbortController();
      const onError = (error: IpamError) => {
        this.#options.seen().streamBreaks++;
        if (error.code === "conflict") anew.abort();
        else this.#compareWhenBack(ipam, signal);
      };
      const ended = AbortSignal.any([signal, anew.signal]);
      const { url, name } = this.#options;
      const follower = { url, headers: async () => ({}), host: name };
      const following = followEvents(follower, after, event => this.#note(event), onError, ended);
      this.#isFollowing = true;
      this.#compareWhenBack(ipam, signal);
      await following;
      this.#isFollowing = false;
    }
  }

  #note(event: MooringEvent): void {
    const { name, seen } = this.#options;
    seen().events++;
    if (event.type === GAP) return;
    if (event.host !== name && event.fromHost !== name) return;
    seen().eventDelayMs.push(Date.now() - Date.parse(event.time));
    const mine = event.port === undefined ? undefined : this.#running.get(event.port);
    // Rule 5: a newer binding elsewhere.
    if (event.type === "port.moved" && event.host !== name && mine && (event.epoch ?? 0) > mine.port.epoch) {
      this.#running.delete(mine.pod.name);
    }
  }

  #compareWhenBack(ipam: AgentIpam, signal: AbortSignal): void {
    this.#comparing ??= patiently(async () => {
      await ipam.ready();
      await this.#compare(ipam);
    }, signal)
      .then(() => {})
      .finally(() => {
        this.#comparing = undefined;
      });
  }

  /** What is bound here and has no sandbox goes back; a sandbox whose binding is lost claims it again. */
  async #compare(ipam: AgentIpam): Promise<void> {
    const { name: host, seen } = this.#options;
    const before = [...this.#running.values()];
    const bound = await ipam.readPortsOfHost(host);
    const isLeftOver = ({ name, binding }: Port) =>
      binding?.sandbox !== undefined && !this.#running.has(name) && !this.#busy.has(name);
    const releases = bound.filter(isLeftOver).map(({ name, binding }) => ({
      ...{ name, host },
      ...(binding?.sandbox && { sandbox: binding.sandbox }),
    }));
    if (releases.length > 0) await ipam.release(releases, RELEASE_PATIENCE);
    seen().swept += releases.length;
    const names = new Set(bound.map(({ name }) => name));
    const isLost = ({ pod }: { pod: ZonePod }) => !names.has(pod.name) && this.#running.has(pod.name);
    for (const { pod } of before.filter(isLost)) {
      await ipam.claim(claimOf(pod, host, "add"));
      seen().reclaimed++;
    }
  }
}

/** Until it succeeds, with growing pauses; undefined when the signal came first. */
async function patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await work();
    } catch {
      await pause(READ_RETRY_MS[Math.min(attempt, READ_RETRY_MS.length - 1)] ?? 1000, signal);
    }
  }
  return undefined;
}

/** Comes to its end early when the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
