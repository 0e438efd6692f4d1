import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { AgentIpam } from "../../../cni/agent/ipam/agent-ipam.ts";
import { Journals } from "../../../cni/agent/ipam/journals.ts";
import type { AgentMetrics } from "../../../cni/agent/metrics.ts";
import { createNodeCore, type NodeCore } from "../../../cni/agent/node-core.ts";
import { RELEASE_POLICY, REPORT_POLICY } from "../../../ipam-server/client/retry-policy.ts";
import { ERROR_CODES, GAP, IpamError, type MooringEvent, type Port } from "../../../ipam-server/contract/index.ts";
import { claimOf, type ZonePod } from "./pod.ts";
import { countError, type Seen } from "./record.ts";

export interface SimulatedAgentOptions {
  name: string;
  url: string;
  journalDir: string;
  metrics: AgentMetrics;
  log: Logger;
  /** Returns the record of the current measurement. */
  seen(): Seen;
}

/** The real agent's values. */
const IPAM_TIMEOUT_MS = 8_000;
const READ_RETRY_MS = [250, 500, 1000, 2000, 5000, 10_000] as const;
/** The kubelet's growing pauses before it retries a sandbox, with jitter. */
const KUBELET_RETRY_MS = [1000, 2000, 4000] as const;
const GIVE_UP_MS = 180_000;
/** The time in which the runtime creates the sandbox, before ADD. */
const SANDBOX_MS = { least: 50, more: 200 };

/**
 * An agent with the real one's node core: IPAM client, batches, event stream, journals and delivery. Datapath, kubelet and
 * Kubernetes are simulated.
 */
export class SimulatedAgent {
  readonly #options: SimulatedAgentOptions;
  readonly #journals: Journals;
  /** The node's sandboxes, by port name. */
  readonly #running = new Map<string, { pod: ZonePod; port: Port }>();
  /** Port names of calls in flight. */
  readonly #busy = new Set<string>();
  #process: { stop: AbortController; core: NodeCore; following: Promise<void> } | undefined;
  #isFollowing = false;
  #comparing: Promise<void> | undefined;

  constructor(options: SimulatedAgentOptions) {
    this.#options = options;
    this.#journals = new Journals(options.journalDir);
  }

  async start(): Promise<void> {
    const { name: nodeName, url, journalDir, metrics, log } = this.#options;
    const stop = new AbortController();
    const core = await createNodeCore({
      nodeName,
      ipam: { url, timeoutMs: IPAM_TIMEOUT_MS, signal: stop.signal },
      journalDir,
      datapath: { fence: async () => false, probe: async () => undefined },
      bridges: [],
      condition: { setFault: () => {} },
      metrics,
      log,
      canUseLease: () => false,
      now: () => performance.now(),
      loadsHeldPorts: false,
      delivers: true,
    });
    this.#process = { stop, core, following: this.#follow(core.ipam, stop.signal) };
  }

  /** `crash`: the node lost power and all its sandboxes. */
  async stop(how: "agent" | "crash"): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    process.stop.abort(new Error("the agent stops"));
    if (how === "crash") this.#running.clear();
    await Promise.all([process.following, this.#comparing]);
    await process.core[Symbol.asyncDispose]();
  }

  /** True if no call is in flight, the journals are empty, and bindings were compared since the stream last broke. */
  get isSettled(): boolean {
    if (this.#process === undefined) return true;
    return this.#isFollowing && this.#comparing === undefined && this.#busy.size === 0 && this.#journals.depth() === 0;
  }

  get journalDepth(): number {
    return this.#journals.depth();
  }

  /** Schedules a pod here: pre-claim, then ADD until it succeeds. Rejects if the node stops or ADD never succeeds. */
  async add(pod: ZonePod): Promise<Port> {
    this.#busy.add(pod.name);
    try {
      const process = this.#process;
      if (process === undefined) throw new Error(`${this.#options.name} is down`);
      const { seen } = this.#options;
      const preclaimedAt = performance.now();
      const preclaim = process.core.ipam.claim(claimOf(pod, this.#options.name, "preclaim")).then(
        () => void seen().preclaimMs.push(performance.now() - preclaimedAt),
        error => countError(seen(), `preclaim: ${IpamError.from(error).code}`),
      );
      await pause(SANDBOX_MS.least + Math.random() * SANDBOX_MS.more, process.stop.signal);
      const port = await this.#claimUntilDone(pod, process.core.ipam, process.stop.signal);
      await preclaim;
      this.#running.set(pod.name, { pod, port });
      await this.#report(process.core.ipam, port);
      return port;
    } finally {
      this.#busy.delete(pod.name);
    }
  }

  /** Ends a pod. Always succeeds, as `release` of `cni/verbs/teardown.ts`. */
  async del({ name, sandboxId }: ZonePod): Promise<void> {
    const { seen, name: host } = this.#options;
    this.#busy.add(name);
    try {
      this.#running.delete(name);
      const release = { name, host, sandbox: { id: sandboxId, interface: "eth0" } };
      const startedAt = performance.now();
      try {
        const [result] = (await this.#process?.core.ipam.release([release], RELEASE_POLICY)) ?? [];
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

  /** Retries as the kubelet and the runtime do, while the error is retryable. */
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
      await ipam.report([report], REPORT_POLICY);
    } catch (error) {
      countError(this.#options.seen(), `report: ${IpamError.from(error).code}`);
      await this.#journals.of("zone").append({ kind: "report", report });
      this.#options.seen().journaled++;
    }
  }

  /** Like `Fence`: opens the stream before the comparison, and compares everything after each break. */
  async #follow(ipam: AgentIpam, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const after = await retry(() => ipam.readLastSeq(), signal);
      if (after === undefined) return;
      const reopen = new AbortController();
      const onError = (error: IpamError) => {
        this.#options.seen().streamBreaks++;
        if (error.code === "conflict") reopen.abort();
        else this.#compareWhenBack(ipam, signal);
      };
      const ended = AbortSignal.any([signal, reopen.signal]);
      const { name } = this.#options;
      const following = ipam.followEvents(name, after, event => this.#handleEvent(event), onError, ended);
      this.#isFollowing = true;
      this.#compareWhenBack(ipam, signal);
      await following;
      this.#isFollowing = false;
    }
  }

  #handleEvent(event: MooringEvent): void {
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
    this.#comparing ??= retry(async () => {
      await ipam.ready();
      await this.#compare(ipam);
    }, signal)
      .then(() => {})
      .finally(() => {
        this.#comparing = undefined;
      });
  }

  /** Releases bindings without a sandbox, and claims lost bindings of live sandboxes again. */
  async #compare(ipam: AgentIpam): Promise<void> {
    const { name: host, seen } = this.#options;
    const before = [...this.#running.values()];
    const bound = await ipam.readPortsOfHost(host);
    const isUnused = ({ name, binding }: Port) =>
      binding?.sandbox !== undefined && !this.#running.has(name) && !this.#busy.has(name);
    const releases = bound.filter(isUnused).map(({ name, binding }) => ({
      ...{ name, host },
      ...(binding?.sandbox && { sandbox: binding.sandbox }),
    }));
    if (releases.length > 0) await ipam.release(releases, RELEASE_POLICY);
    seen().swept += releases.length;
    const names = new Set(bound.map(({ name }) => name));
    const isLost = ({ pod }: { pod: ZonePod }) => !names.has(pod.name) && this.#running.has(pod.name);
    for (const { pod } of before.filter(isLost)) {
      await ipam.claim(claimOf(pod, host, "add"));
      seen().reclaimed++;
    }
  }
}

/** Retries until the work succeeds, with growing pauses. Returns undefined if the signal aborts first. */
async function retry<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await work();
    } catch {
      await pause(READ_RETRY_MS[Math.min(attempt, READ_RETRY_MS.length - 1)] ?? 1000, signal);
    }
  }
  return undefined;
}

/** Resolves early when the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
