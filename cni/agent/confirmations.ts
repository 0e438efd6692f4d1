import type { Logger } from "pino";
import { type Claim, ERROR_CODES, IpamError, type PortAttachment } from "../../ipam-server/contract/index.ts";
import type { Datapath } from "../datapath/attachment.ts";
import type { IpamClient } from "../ipam-client.ts";
import { describeError } from "../spec/cni-error.ts";
import { isSameBinding } from "../verbs/attachment.ts";
import type { HeldPorts } from "./held-ports.ts";
import type { AgentMetrics } from "./metrics.ts";
import { sandboxKey, type Turns } from "./turns.ts";

export interface ConfirmationsOptions {
  ipam: Pick<IpamClient, "claim" | "release">;
  datapath: Pick<Datapath, "unplug">;
  held: HeldPorts;
  turns: Turns;
  metrics: Pick<AgentMetrics, "fencedPorts">;
  log: Logger;
}

/**
 * Claims whose ports were plugged from what this node holds while the IPAM was away: it has yet to hear of their sandboxes.
 * In memory only: after a restart of the agent the binding without a sandbox and the plugged port still agree by owner and
 * epoch, and the pod's DEL releases by owner.
 */
export class Confirmations {
  readonly #options: ConfirmationsOptions;
  readonly #waiting = new Map<string, { claim: Claim; expected: PortAttachment }>();

  constructor(options: ConfirmationsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  add(claim: Claim, expected: PortAttachment): void {
    if (claim.sandbox) this.#waiting.set(sandboxKey(claim.sandbox.id, claim.sandbox.interface), { claim, expected });
  }

  /** Tells all that wait. Rejects with IpamError while the IPAM is still away. */
  async confirmAll(): Promise<void> {
    const entries = [...this.#waiting];
    const outcomes = await Promise.allSettled(
      entries.map(([key, entry]) =>
        this.#options.turns.take(key, () => this.#confirm(key, entry.claim, entry.expected)),
      ),
    );
    const failure = outcomes.find(outcome => outcome.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  }

  /** In turn with the sandbox's calls: a claim that overtook its DEL would never be released. */
  async #confirm(key: string, claim: Claim, expected: PortAttachment): Promise<void> {
    const { ipam, held } = this.#options;
    const { sandbox, owner } = claim;
    if (sandbox === undefined || held.find(owner.uid, sandbox.interface)?.sandboxId !== sandbox.id) {
      this.#waiting.delete(key);
      return;
    }
    try {
      const attachment = await ipam.claim(claim);
      if (isSameBinding(attachment, expected)) {
        held.put(owner.uid, sandbox.interface, { port: attachment.port, attachment, claim, sandboxId: sandbox.id });
      } else {
        await this.#fence(claim, "the IPAM gives it another binding by now");
        await ipam.release([{ name: attachment.port.name, host: claim.host, sandbox }]);
      }
    } catch (error) {
      const { code, message } = IpamError.from(error);
      if (ERROR_CODES[code].http >= 500) throw error;
      await this.#fence(claim, message);
    }
    this.#waiting.delete(key);
  }

  async #fence({ sandbox, owner, name }: Claim, reason: string): Promise<void> {
    const { datapath, held, metrics, log } = this.#options;
    if (sandbox === undefined) return;
    held.drop(owner.uid, sandbox.interface);
    metrics.fencedPorts.inc({ reason: "refused" });
    log.warn({ port: name, sandbox: sandbox.id, reason }, "unplugs what was plugged while the IPAM was away");
    try {
      await datapath.unplug(sandbox.id, sandbox.interface, undefined);
    } catch (error) {
      log.error({ port: name, sandbox: sandbox.id, reason: describeError(error) }, "cannot unplug");
      throw error;
    }
  }
}
