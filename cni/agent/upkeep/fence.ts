import { deriveRetryDelay } from "../../../ipam-server/client/retry-policy.ts";
import { GAP, type IpamError, LEASE_PREFIX, type MooringEvent } from "../../../ipam-server/contract/index.ts";
import { pause } from "../../../ipam-server/process/background-loop.ts";
import { classifyEvent, endsHeldBinding, type NodeIdentity } from "./binding-relation.ts";
import type { LocalChanges } from "./local-changes.ts";
import { bindingKey, type LocalPort } from "./local-port.ts";
import type { NodeView } from "./node-view.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

export interface FenceOptions {
  context: Pick<UpkeepContext, "ipam" | "log" | "metrics" | "config" | "held" | "leases" | "queue">;
  view: NodeView;
  changes: Pick<LocalChanges, "fence">;
  /** Gets the binding key of a local port whose binding has ended. */
  onEnded(key: string): void;
  /** Requests a sweep. */
  compare(): void;
  /** Bounds the random delay of a sweep that all nodes need together, because the IPAM is back. Default 5000. */
  spreadMs?: number;
}

const RETRY_MS = [250, 500, 1000, 2000, 5000, 10_000] as const;
const ENDS_BINDING = new Set(["port.moved", "port.released", "port.deleted", "port.reallocated"]);

/**
 * Rule 5: the old node fences itself. Follows the IPAM's events and disconnects ports whose binding has moved elsewhere. A
 * broken stream fences nothing; after it a sweep compares everything.
 */
export class Fence implements AsyncDisposable {
  readonly #options: FenceOptions;
  readonly #self: NodeIdentity;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #queue: MooringEvent[] = [];
  #draining: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;
  readonly #fencing = new Set<Promise<unknown>>();

  constructor(options: FenceOptions) {
    this.#options = options;
    const { nodeName, cluster } = options.context.config;
    this.#self = { host: nodeName, cluster };
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#running, this.#draining, this.#waiting]);
    await Promise.all(this.#fencing);
  }

  async #run(): Promise<void> {
    const { ipam } = this.#options.context;
    const { signal } = this.#stop;
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      const after = await this.#retry(() => ipam.readLastSeq());
      if (after === undefined) return;
      // Open the stream before the sweep, so that no event is missed between the two.
      const reopen = new AbortController();
      const onError = (error: IpamError) => {
        this.#fail("events", error);
        if (error.code === "conflict") reopen.abort();
        // A refusal proves that the server runs; once there is a place the stream resumes without loss.
        else if (error.code !== "overloaded") this.#compareWhenBack();
      };
      // Filter by host: every event that ends a local binding carries this host.
      const following = ipam.followEvents(
        this.#self.host,
        after,
        event => this.#handleEvent(event),
        onError,
        AbortSignal.any([signal, reopen.signal]),
      );
      if (isFirst) this.#options.compare();
      else this.#compareWhenBack();
      await following;
    }
  }

  #handleEvent(event: MooringEvent): void {
    // The events since the last connection are pruned.
    if (event.type === GAP) this.#compareWhenBack();
    const { view, context } = this.#options;
    const { host, cluster } = this.#self;
    const isOurs = event.host === host || event.fromHost === host;
    const movedAway =
      event.type === "port.moved" && event.fromHost === host && !(event.host === host && event.cluster === cluster);
    // Before anything is awaited, because from here on no ADD may use the port.
    if (event.port?.startsWith(`${LEASE_PREFIX}${host}/`))
      context.leases.dropWhere(port => endsHeldBinding(port, event));
    const wasHeld = context.held.dropWhere(({ port }) => endsHeldBinding(port, event));
    if (movedAway || wasHeld) this.#enqueueAfterCalls(event);
    const mayConcern = isOurs && ENDS_BINDING.has(event.type);
    if (!mayConcern && !view.concerns(event.port, event.addresses)) return;
    this.#enqueue(event);
  }

  /** Checks again after running CNI calls: one may still plug a port granted before this event. */
  #enqueueAfterCalls(event: MooringEvent): void {
    void this.#options.context.queue.settled().then(() => this.#enqueue(event));
  }

  #enqueue(event: MooringEvent): void {
    if (this.#stop.signal.aborted) return;
    this.#queue.push(event);
    this.#startDraining();
  }

  #startDraining(): void {
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
      if (this.#queue.length > 0 && !this.#stop.signal.aborted) this.#startDraining();
    });
  }

  /** Reads the local ports once for all queued events. Events that arrive meanwhile share the next read. */
  async #drain(): Promise<void> {
    const { view, onEnded, compare } = this.#options;
    while (this.#queue.length > 0 && !this.#stop.signal.aborted) {
      const local = await this.#retry(() => view.read());
      if (local === undefined) return;
      const events = this.#queue;
      this.#queue = [];
      let needsSweep = false;
      for (const event of events) {
        for (const port of local) {
          const action = classifyEvent(port, event, this.#self);
          if (action === "ended") onEnded(bindingKey(port));
          needsSweep ||= action === "ended" || action === "compare";
          if (action === "fence") this.#startFence(port);
        }
      }
      if (needsSweep) compare();
    }
  }

  /** Not awaited, because it waits for CNI calls of its sandbox, which must not delay the fences of others. */
  #startFence(port: LocalPort): void {
    const { changes, compare } = this.#options;
    const fencing = changes
      .fence(port, "moved")
      .catch(error => {
        this.#fail("fence", error);
        // The sweep finds it again.
        compare();
      })
      .finally(() => this.#fencing.delete(fencing));
    this.#fencing.add(fencing);
  }

  /**
   * The stream resumes without loss, but while it was broken the server may have released bindings of this node. All nodes
   * find it back together, so that each waits for a random time.
   */
  #compareWhenBack(): void {
    const { context, compare, spreadMs = 5000 } = this.#options;
    this.#waiting ??= this.#retry(async () => {
      await context.ipam.ready();
      return true;
    })
      .then(async isBack => {
        if (!isBack) return;
        await pause(Math.random() * spreadMs, this.#stop.signal);
        if (!this.#stop.signal.aborted) compare();
      })
      .finally(() => {
        this.#waiting = undefined;
      });
  }

  /** Retries until the work succeeds, with growing pauses, or those that the IPAM asks for. Returns undefined once disposed of. */
  async #retry<T>(work: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#stop;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        return await work();
      } catch (error) {
        this.#fail("events", error);
        const pauseMs = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] ?? 1000;
        await pause(deriveRetryDelay(error, pauseMs), signal);
      }
    }
    return undefined;
  }

  #fail(component: string, error: unknown): void {
    const { metrics, log } = this.#options.context;
    metrics.failures.inc({ component });
    log.warn({ err: error, component }, "failed, retrying");
  }
}
