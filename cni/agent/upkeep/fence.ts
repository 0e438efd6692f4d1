import { GAP, type IpamError, LEASE_PREFIX, type MooringEvent } from "../../../ipam-server/contract/index.ts";
import { pause } from "../../../ipam-server/process/background-loop.ts";
import { classifyEvent, endsHeldBinding, type NodeIdentity } from "./binding-relation.ts";
import type { LocalChanges } from "./local-changes.ts";
import { bindingKey } from "./local-port.ts";
import type { NodeView } from "./node-view.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

export interface FenceOptions {
  context: Pick<UpkeepContext, "ipam" | "log" | "metrics" | "config" | "held" | "leases" | "queue">;
  view: NodeView;
  changes: Pick<LocalChanges, "fence">;
  /** The binding of this sandbox's port was ended. */
  onEnded(life: string): void;
  /** Asks for a full comparison, soon. */
  compare(): void;
}

const RETRY_MS = [250, 500, 1000, 2000, 5000, 10_000] as const;
const TAKES_AWAY = new Set(["port.moved", "port.released", "port.deleted", "port.reallocated"]);

/**
 * Rule 5: the old node fences itself. Follows the IPAM's events and unplugs at once what has a newer owner elsewhere. That the
 * stream is silent or broken fences nothing; when it is back, everything is compared.
 */
export class Fence implements AsyncDisposable {
  readonly #options: FenceOptions;
  readonly #self: NodeIdentity;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #queue: MooringEvent[] = [];
  #draining: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;

  constructor(options: FenceOptions) {
    this.#options = options;
    const { nodeName, cluster } = options.context.config;
    this.#self = { host: nodeName, cluster };
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#running, this.#draining, this.#waiting]);
  }

  async #run(): Promise<void> {
    const { ipam } = this.#options.context;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const after = await this.#patiently(() => ipam.readLastSeq());
      if (after === undefined) return;
      // The stream begins before the comparison, so that nothing falls between the two.
      const anew = new AbortController();
      const onError = (error: IpamError) => {
        this.#fail("events", error);
        if (error.code === "conflict") anew.abort();
        else this.#compareWhenBack();
      };
      // Whatever ends a binding of this host is an event of this host, so that nobody else's are needed.
      const following = ipam.followEvents(
        this.#self.host,
        after,
        event => this.#note(event),
        onError,
        AbortSignal.any([signal, anew.signal]),
      );
      this.#options.compare();
      await following;
    }
  }

  #note(event: MooringEvent): void {
    // Away for longer than events are kept.
    if (event.type === GAP) this.#options.compare();
    const { view, context } = this.#options;
    const { host, cluster } = this.#self;
    const isOurs = event.host === host || event.fromHost === host;
    const movedAway =
      event.type === "port.moved" && event.fromHost === host && !(event.host === host && event.cluster === cluster);
    // Before anything is awaited: from here on no ADD may count on it.
    if (event.port?.startsWith(`${LEASE_PREFIX}${host}/`))
      context.leases.dropWhere(port => endsHeldBinding(port, event));
    const wasHeld = context.held.dropWhere(({ port }) => endsHeldBinding(port, event));
    if (movedAway || wasHeld) this.#judgeAgain(event);
    const mayConcern = isOurs && TAKES_AWAY.has(event.type);
    if (!mayConcern && !view.concerns(event.port, event.addresses)) return;
    this.#judge(event);
  }

  /** A call that runs now may plug what it was granted before the event, after the event has found nothing plugged. */
  #judgeAgain(event: MooringEvent): void {
    void this.#options.context.queue.settled().then(() => this.#judge(event));
  }

  #judge(event: MooringEvent): void {
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

  /** Events that come meanwhile are judged by the next look, all together. */
  async #drain(): Promise<void> {
    const { view, changes, onEnded, compare } = this.#options;
    while (this.#queue.length > 0 && !this.#stop.signal.aborted) {
      const local = await this.#patiently(() => view.read());
      if (local === undefined) return;
      const events = this.#queue;
      this.#queue = [];
      let isUnclear = false;
      for (const event of events) {
        for (const port of local) {
          const reaction = classifyEvent(port, event, this.#self);
          if (reaction === "ended") onEnded(bindingKey(port));
          isUnclear ||= reaction === "ended" || reaction === "look";
          if (reaction !== "fence") continue;
          // Should it fail, the comparison finds it again.
          await changes.fence(port, "moved").catch(error => {
            this.#fail("fence", error);
            isUnclear = true;
          });
        }
      }
      if (isUnclear) compare();
    }
  }

  /** The stream resumes by itself and loses nothing; but while it was away others may have given up on this node. */
  #compareWhenBack(): void {
    const { context, compare } = this.#options;
    this.#waiting ??= this.#patiently(async () => {
      await context.ipam.ready();
      return true;
    })
      .then(isBack => {
        if (isBack) compare();
      })
      .finally(() => {
        this.#waiting = undefined;
      });
  }

  /** Until it succeeds, with growing pauses. Undefined: disposed of. */
  async #patiently<T>(work: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#stop;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        return await work();
      } catch (error) {
        this.#fail("events", error);
        const pauseMs = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] ?? 1000;
        await pause(pauseMs, signal);
      }
    }
    return undefined;
  }

  #fail(component: string, error: unknown): void {
    const { metrics, log } = this.#options.context;
    metrics.failures.inc({ component });
    log.warn({ err: error, component }, "failed; will be tried again");
  }
}
