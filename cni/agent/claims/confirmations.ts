import { type Claim, IpamError, type PortAttachment } from "../../../ipam-server/contract/index.ts";
import type { IpamClient } from "../../ipam-client.ts";
import { isFinalRejection } from "../../journal/rejection.ts";
import { isSameBinding } from "../../verbs/attachment.ts";
import { type KeyedQueue, sandboxKey } from "../calls/keyed-queue.ts";
import type { HeldPorts } from "../ports/held-ports.ts";
import type { RejectedPorts } from "../ports/rejected-ports.ts";

export interface ConfirmationsOptions {
  ipam: Pick<IpamClient, "claim" | "release">;
  held: HeldPorts;
  queue: KeyedQueue;
  rejected: Pick<RejectedPorts, "unplug">;
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
        this.#options.queue.run(key, () => this.#confirm(key, entry.claim, entry.expected)),
      ),
    );
    const failure = outcomes.find(outcome => outcome.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  }

  /** In turn with the sandbox's calls: a claim that overtook its DEL would never be released. */
  async #confirm(key: string, claim: Claim, expected: PortAttachment): Promise<void> {
    const { ipam, held, rejected } = this.#options;
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
        await rejected.unplug(claim, "the IPAM gives it another binding by now");
        await ipam.release([{ name: attachment.port.name, host: claim.host, sandbox }]);
      }
    } catch (error) {
      const refusal = IpamError.from(error);
      if (!isFinalRejection(refusal)) throw error;
      await rejected.unplug(claim, refusal.message);
    }
    this.#waiting.delete(key);
  }
}
