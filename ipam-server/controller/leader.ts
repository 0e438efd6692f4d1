import { setTimeout as sleep } from "node:timers/promises";
import type { KubeApi } from "../kube/kube-api.ts";
import { KubeError } from "../kube/kube-error.ts";
import { record, text } from "../kube/objects.ts";
import { decideLease, type LeaseClock, type LeaseRecord, type LeaseSeen, resign } from "./kube-lease.ts";

export interface LeaderOptions {
  api: Pick<KubeApi, "call" | "get">;
  namespace: string;
  name: string;
  /** Unique among the candidates. */
  identity: string;
  durationSeconds?: number;
  retryMs?: number;
  clock?: () => LeaseClock;
  onChange?(isLeader: boolean): void;
  onError?(error: KubeError): void;
}

/**
 * Stands for election by a Lease, renews while elected, and gives the Lease up at the end. `isLeader()` turns false by
 * itself two thirds into the Lease's time without a renewal, so that a leader that was cut off stops before another begins.
 */
export class Leader implements AsyncDisposable {
  readonly #options: LeaderOptions;
  readonly #path: string;
  readonly #stop = new AbortController();
  readonly #durationSeconds: number;
  readonly #clock: () => LeaseClock;
  #seen: LeaseSeen = { record: undefined, changedAt: 0 };
  #renewedAt: number | undefined;
  #held: { record: LeaseRecord; metadata: unknown } | undefined;
  #told = false;
  readonly #running: Promise<void>;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#durationSeconds = options.durationSeconds ?? 15;
    this.#clock = options.clock ?? (() => ({ wallMs: Date.now(), steadyMs: performance.now() }));
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`;
    this.#seen.changedAt = this.#clock().steadyMs;
    this.#running = this.#run();
  }

  isLeader(): boolean {
    const deadlineMs = (this.#durationSeconds * 1000 * 2) / 3;
    return this.#renewedAt !== undefined && this.#clock().steadyMs - this.#renewedAt < deadlineMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const held = this.#held;
    const mayStillHold = this.isLeader();
    this.#renewedAt = undefined;
    this.#tell();
    if (held === undefined || !mayStillHold) return;
    const record = resign(held.record, this.#clock().wallMs);
    // Not given up is not lost: the next leader waits for the Lease to run out.
    await this.#write(record, held.metadata).catch(error => this.#options.onError?.(KubeError.from(error)));
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#stand();
      } catch (error) {
        // Another candidate was faster (409): the next round reads what it wrote.
        if (!(error instanceof KubeError && error.status === 409)) this.#options.onError?.(KubeError.from(error));
      }
      this.#tell();
      const retryMs = this.#options.retryMs ?? (this.#durationSeconds * 1000) / 7;
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #stand(): Promise<void> {
    const { current, metadata } = await this.#read();
    const clock = this.#clock();
    const { seen, step } = decideLease(this.#seen, current, this.#options.identity, this.#durationSeconds, clock);
    this.#seen = seen;
    if (step.do === "wait") {
      this.#renewedAt = undefined;
      this.#held = undefined;
      return;
    }
    const written = await this.#write(step.record, metadata);
    // Counted from before the write: the others count from when they see it.
    this.#renewedAt = clock.steadyMs;
    this.#held = { record: step.record, metadata: written };
  }

  async #read(): Promise<{ current: LeaseRecord | undefined; metadata: unknown }> {
    try {
      const lease = record(await this.#options.api.get(`${this.#path}/${this.#options.name}`), "lease");
      return { current: readLease(lease), metadata: lease.metadata };
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return { current: undefined, metadata: undefined };
      throw error;
    }
  }

  /** With the metadata that was read, so that its resourceVersion makes a race a conflict. Returns the new metadata. */
  async #write(lease: LeaseRecord, metadata: unknown): Promise<unknown> {
    const { name, namespace, api } = this.#options;
    const spec = {
      holderIdentity: lease.holder,
      leaseDurationSeconds: lease.durationSeconds,
      acquireTime: lease.acquireTime,
      renewTime: lease.renewTime,
      leaseTransitions: lease.transitions,
    };
    const head = { apiVersion: "coordination.k8s.io/v1", kind: "Lease" };
    const answer =
      metadata === undefined
        ? await api.call("POST", this.#path, { body: { ...head, metadata: { name, namespace }, spec } })
        : await api.call("PUT", `${this.#path}/${name}`, { body: { ...head, metadata, spec } });
    return record(answer, "lease").metadata;
  }

  #tell(): void {
    const isLeader = this.isLeader();
    if (isLeader === this.#told) return;
    this.#told = isLeader;
    this.#options.onChange?.(isLeader);
  }
}

function readLease(lease: Record<string, unknown>): LeaseRecord {
  const spec = record(lease.spec ?? {}, "lease.spec");
  const optionalText = (value: unknown, field: string) => (value === undefined ? "" : text(value, field));
  const optionalCount = (value: unknown) => (typeof value === "number" && value >= 0 ? value : 0);
  return {
    // An empty holder is one that resigned.
    holder: typeof spec.holderIdentity === "string" ? spec.holderIdentity : "",
    durationSeconds: optionalCount(spec.leaseDurationSeconds),
    acquireTime: optionalText(spec.acquireTime, "lease.spec.acquireTime"),
    renewTime: optionalText(spec.renewTime, "lease.spec.renewTime"),
    transitions: optionalCount(spec.leaseTransitions),
  };
}
