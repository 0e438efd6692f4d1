import type { Logger } from "pino";
import { deriveRetryDelay } from "../../../ipam-server/client/retry-policy.ts";
import { BackgroundLoop } from "../../../ipam-server/process/background-loop.ts";
import { deliverJournal } from "../../journal/delivery.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { Confirmations } from "../claims/confirmations.ts";
import type { UnreportedLeases } from "../leases/unreported-leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { AgentIpam } from "./agent-ipam.ts";
import type { Journals } from "./journals.ts";

export interface DeliveryOptions {
  nodeName: string;
  ipam: AgentIpam;
  journals: Journals;
  confirmations: Confirmations;
  unreported: Pick<UnreportedLeases, "settle">;
  metrics: Pick<AgentMetrics, "failures">;
  log: Logger;
  everyMs?: number;
}

const EVERY_MS = 2_000;
/** The longest pause while the IPAM is unreachable. */
const SLOWEST_MS = 15_000;

/**
 * Delivers confirmations and journals: when woken, and every few seconds, because the executable writes journals too.
 * Confirmations go first, so that the IPAM has every plugged port before more addresses are released.
 */
export class Delivery implements AsyncDisposable {
  readonly #options: DeliveryOptions;
  readonly #loop: BackgroundLoop;
  #failures = 0;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#loop = new BackgroundLoop({ pass: () => this.#attempt() });
  }

  /** Starts the next pass at once. */
  wake(): void {
    this.#loop.wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]();
  }

  /** Resolves with the milliseconds until the next attempt. */
  async #attempt(): Promise<number> {
    const { everyMs = EVERY_MS, log, metrics } = this.#options;
    let failure: unknown;
    try {
      await this.#pass();
      this.#failures = 0;
    } catch (error) {
      failure = error;
      metrics.failures.inc({ component: "delivery" });
      const what = this.#options.ipam.isReachable
        ? "not all was delivered, retrying"
        : "IPAM unreachable, retrying delivery";
      if (this.#failures++ === 0) log.warn({ reason: describeError(error) }, what);
    }
    return deriveRetryDelay(failure, Math.min(SLOWEST_MS, everyMs * 2 ** Math.min(this.#failures, 4)));
  }

  /** Delivers all that can be delivered, then rejects with the first failure. */
  async #pass(): Promise<void> {
    const { nodeName, ipam, journals, confirmations, unreported, metrics, log } = this.#options;
    const report = (line: string) => {
      metrics.failures.inc({ component: "journal" });
      log.warn(line);
    };
    if (!ipam.isReachable) await ipam.ready();
    const unconfirmed = await confirmations.confirmAll();
    const failures = unconfirmed.map(({ error }) => error);
    const options = {
      host: nodeName,
      log: report,
      maxBatches: Number.POSITIVE_INFINITY,
      waiting: unconfirmed.flatMap(({ keys }) => keys),
      settleClaim: (...outcome: Parameters<UnreportedLeases["settle"]>) => unreported.settle(...outcome),
    };
    await journals.setAsideStray(report);
    for (const journal of journals.all()) {
      if (!ipam.isReachable) break;
      await deliverJournal(journal, ipam, options).catch(error => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }
}
