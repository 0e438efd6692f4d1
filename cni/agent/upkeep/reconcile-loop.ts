import { BackgroundLoop } from "../../../ipam-server/process/background-loop.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { Sweeper } from "./sweeper.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

export interface ReconcileLoopOptions {
  context: Pick<UpkeepContext, "config" | "datapath" | "log" | "metrics">;
  sweeper: Pick<Sweeper, "sweep" | "pendingCount">;
  /** How often OVSDB is asked whether it is still the same. Default 2000. */
  watchMs?: number;
}

const RETRY_MS = 2000;

/**
 * When upkeep happens: at start, when asked for, when OVSDB comes back or was made anew, when suspects have waited for their
 * grace, and every few minutes. Each time the bridges first, then the sweep.
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
    this.#reconciling = new BackgroundLoop({ pass: () => this.#keep() });
    this.#watching = new BackgroundLoop({ pass: () => this.#watchOvs() });
  }

  /** Resolves once the bridges are there. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Resolves once making the bridges has been tried: an agent serves what it can while OVS is away. */
  get firstAttempt(): Promise<void> {
    return this.#first.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#watching, this.#reconciling].map(loop => loop[Symbol.asyncDispose]()));
  }

  /** Soon; requests that come before it begins are one. */
  request(): void {
    this.#reconciling.wake();
  }

  /** Resolves with the time until the next round. */
  async #keep(): Promise<number> {
    const { context, sweeper } = this.#options;
    const { sweepInterval, sweepGrace } = context.config;
    const areBridgesThere = await this.#attempt("bridges", () => this.#ensureBridges());
    if (areBridgesThere) this.#ready.resolve();
    this.#first.resolve();
    const isSwept = await this.#attempt("sweep", () => sweeper.sweep());
    if (!areBridgesThere || !isSwept) return RETRY_MS;
    this.#lastFailure = undefined;
    return sweeper.pendingCount > 0 ? Math.min(sweepInterval, sweepGrace + 50) : sweepInterval;
  }

  async #ensureBridges(): Promise<void> {
    const { datapath, config, log } = this.#options.context;
    const { bridge: integration, bridgeMappings: mappings = [], uplinks = [], datapathType } = config;
    const made = await datapath.ensureBridges({ integration, mappings, uplinks, datapathType });
    if (made.length > 0) log.info({ made }, "made what was missing in OVS");
  }

  /** The same failure over and over is told once. */
  async #attempt(component: string, work: () => Promise<void>): Promise<boolean> {
    const { log, metrics } = this.#options.context;
    try {
      await work();
      return true;
    } catch (error) {
      metrics.failures.inc({ component });
      const reason = describeError(error);
      if (reason !== this.#lastFailure) log.warn({ component, reason }, "failed; will be tried again");
      this.#lastFailure = reason;
      return false;
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
