import { deriveRetryDelay } from "../../../ipam-server/client/retry-policy.ts";
import { BackgroundLoop, withJitter } from "../../../ipam-server/process/background-loop.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { Sweeper } from "./sweeper.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

interface ReconcileLoopOptions {
  context: Pick<UpkeepContext, "config" | "bridges" | "datapath" | "log" | "metrics">;
  sweeper: Pick<Sweeper, "sweep" | "pendingCount" | "mayRecover">;
  /** Interval of the check whether OVSDB was replaced. Default 2000. */
  watchMs?: number;
}

const RETRY_MS = 2000;
/** The interval while the IPAM may be recovering: pods of the complete cluster wait for this node's report. */
const RECOVERY_MS = 3000;
/** Nodes that have swept together do not sweep together for long. */
const INTERVAL_JITTER = 0.4;

/**
 * Ensures the bridges and then sweeps: at start, on request, when OVSDB comes back or was replaced, at the end of a grace
 * period, and at each sweep interval.
 */
export class ReconcileLoop implements AsyncDisposable {
  readonly #options: ReconcileLoopOptions;
  readonly #reconciling: BackgroundLoop;
  readonly #watching: BackgroundLoop;
  readonly #ready = Promise.withResolvers<void>();
  readonly #first = Promise.withResolvers<void>();
  #lastFailure: string | undefined;
  #ovsIdentity: string | undefined;

  constructor(options: ReconcileLoopOptions) {
    this.#options = options;
    this.#reconciling = new BackgroundLoop({ pass: () => this.#reconcile() });
    this.#watching = new BackgroundLoop({ pass: () => this.#watchOvs() });
  }

  /** Resolves once the bridges exist. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Resolves after the first attempt to ensure the bridges, because the agent also serves while OVS is unreachable. */
  get firstAttempt(): Promise<void> {
    return this.#first.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#watching, this.#reconciling].map(loop => loop[Symbol.asyncDispose]()));
  }

  /** Starts the next pass at once. Requests before it starts are merged. */
  request(): void {
    this.#reconciling.wake();
  }

  /** Resolves with the pause before the next pass. */
  async #reconcile(): Promise<number> {
    const { context, sweeper } = this.#options;
    const { sweepInterval, sweepGrace } = context.config;
    const bridgesRetryMs = await this.#attempt("bridges", () => this.#ensureBridges());
    if (bridgesRetryMs === undefined) this.#ready.resolve();
    this.#first.resolve();
    const sweepRetryMs = await this.#attempt("sweep", () => sweeper.sweep());
    const retryMs = Math.max(bridgesRetryMs ?? 0, sweepRetryMs ?? 0);
    if (retryMs > 0) return retryMs;
    this.#lastFailure = undefined;
    const nextMs = withJitter(sweeper.mayRecover ? RECOVERY_MS : sweepInterval, INTERVAL_JITTER);
    return sweeper.pendingCount > 0 ? Math.min(nextMs, sweepGrace + 50) : nextMs;
  }

  async #ensureBridges(): Promise<void> {
    const { datapath, config, bridges: integrations, log } = this.#options.context;
    const { uplinks = [], datapathType } = config;
    const changed = await datapath.ensureBridges({ integrations, uplinks, datapathType });
    if (changed.length > 0) log.info({ changed }, "changed OVS bridges");
  }

  /** Returns the pause before the next attempt if the work fails. Logs a repeated failure once. */
  async #attempt(component: string, work: () => Promise<void>): Promise<number | undefined> {
    const { log, metrics } = this.#options.context;
    try {
      await work();
      return undefined;
    } catch (error) {
      metrics.failures.inc({ component });
      const reason = describeError(error);
      if (reason !== this.#lastFailure) log.warn({ component, reason }, "failed, retrying");
      this.#lastFailure = reason;
      return deriveRetryDelay(error, RETRY_MS);
    }
  }

  async #watchOvs(): Promise<number> {
    const { context, watchMs = 2000 } = this.#options;
    const identity = await context.datapath.identify().catch(() => undefined);
    if (identity !== undefined && identity !== this.#ovsIdentity) this.request();
    this.#ovsIdentity = identity;
    return watchMs;
  }
}
