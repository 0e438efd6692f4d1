import type { KubeApi } from "../kube/kube-api.ts";
import { KubeError } from "../kube/kube-error.ts";
import { record, text } from "../kube/objects.ts";
import { BackgroundLoop } from "../process/background-loop.ts";
import { decideKubeLease, type ElectionClock, type KubeLease, type ObservedKubeLease, resign } from "./kube-lease.ts";

interface LeaderOptions {
  api: Pick<KubeApi, "call" | "get">;
  namespace: string;
  name: string;
  /** Unique among the replicas. */
  identity: string;
  durationSeconds?: number;
  retryMs?: number;
  clock?: () => ElectionClock;
  onError?(error: KubeError): void;
}

/**
 * Acquires a Kubernetes Lease, renews it while it is the leader, and resigns when disposed. `isLeader()` turns false
 * two thirds of the Lease's duration after the last renewal, so a disconnected leader stops before another starts.
 */
export class Leader implements AsyncDisposable {
  readonly #options: LeaderOptions;
  readonly #path: string;
  readonly #durationSeconds: number;
  readonly #clock: () => ElectionClock;
  #observed: ObservedKubeLease = { record: undefined, changedAt: 0 };
  #renewedAt: number | undefined;
  #held: { record: KubeLease; metadata: unknown } | undefined;
  #wasLeader = false;
  #onChange: ((isLeader: boolean) => void) | undefined;
  readonly #loop: BackgroundLoop;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#durationSeconds = options.durationSeconds ?? 15;
    this.#clock = options.clock ?? (() => ({ wallMs: Date.now(), steadyMs: performance.now() }));
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`;
    this.#observed.changedAt = this.#clock().steadyMs;
    this.#loop = new BackgroundLoop({ pass: () => this.#pass() });
  }

  /** Calls back at every change from now on. One listener; the election has no result before the next turn of the loop. */
  onChange(listener: (isLeader: boolean) => void): void {
    this.#onChange = listener;
  }

  isLeader(): boolean {
    const deadlineMs = (this.#durationSeconds * 1000 * 2) / 3;
    return this.#renewedAt !== undefined && this.#clock().steadyMs - this.#renewedAt < deadlineMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]();
    const held = this.#held;
    const mayStillHold = this.isLeader();
    this.#renewedAt = undefined;
    this.#notifyChange();
    if (held === undefined || !mayStillHold) return;
    const record = resign(held.record, this.#clock().wallMs);
    // If this write fails the next leader waits until the Lease expires.
    await this.#write(record, held.metadata).catch(error => this.#options.onError?.(KubeError.from(error)));
  }

  async #pass(): Promise<number> {
    try {
      await this.#acquireOrRenew();
    } catch (error) {
      // 409: another replica wrote first; the next pass reads its record.
      if (!(error instanceof KubeError && error.status === 409)) this.#options.onError?.(KubeError.from(error));
    }
    this.#notifyChange();
    return this.#options.retryMs ?? (this.#durationSeconds * 1000) / 7;
  }

  async #acquireOrRenew(): Promise<void> {
    const { current, metadata } = await this.#read();
    const clock = this.#clock();
    const { observed, step } = decideKubeLease(
      this.#observed,
      current,
      this.#options.identity,
      this.#durationSeconds,
      clock,
    );
    this.#observed = observed;
    if (step.do === "wait") {
      this.#renewedAt = undefined;
      this.#held = undefined;
      return;
    }
    const written = await this.#write(step.record, metadata);
    // Measured from before the write, because the other replicas measure from when they observe it.
    this.#renewedAt = clock.steadyMs;
    this.#held = { record: step.record, metadata: written };
  }

  async #read(): Promise<{ current: KubeLease | undefined; metadata: unknown }> {
    try {
      const lease = record(await this.#options.api.get(`${this.#path}/${this.#options.name}`), "lease");
      return { current: parseKubeLease(lease), metadata: lease.metadata };
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return { current: undefined, metadata: undefined };
      throw error;
    }
  }

  /** Writes with the metadata that was read, so a concurrent write fails with 409. Returns the new metadata. */
  async #write(lease: KubeLease, metadata: unknown): Promise<unknown> {
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

  #notifyChange(): void {
    const isLeader = this.isLeader();
    if (isLeader === this.#wasLeader) return;
    this.#wasLeader = isLeader;
    this.#onChange?.(isLeader);
  }
}

function parseKubeLease(lease: Record<string, unknown>): KubeLease {
  const spec = record(lease.spec ?? {}, "lease.spec");
  const optionalText = (value: unknown, field: string) => (value === undefined ? "" : text(value, field));
  const optionalCount = (value: unknown) => (typeof value === "number" && value >= 0 ? value : 0);
  return {
    // Empty after the holder resigned.
    holder: typeof spec.holderIdentity === "string" ? spec.holderIdentity : "",
    durationSeconds: optionalCount(spec.leaseDurationSeconds),
    acquireTime: optionalText(spec.acquireTime, "lease.spec.acquireTime"),
    renewTime: optionalText(spec.renewTime, "lease.spec.renewTime"),
    transitions: optionalCount(spec.leaseTransitions),
  };
}
