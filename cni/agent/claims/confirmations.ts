import type { IpamClient } from "../../../ipam-server/client/client.ts";
import { type Claim, IpamError, type PortAttachment } from "../../../ipam-server/contract/index.ts";
import { formatPortKey, formatSandboxKey } from "../../journal/entry.ts";
import { isFinalRejection } from "../../journal/rejection.ts";
import { findBinding, isSameBinding } from "../../verbs/attachment.ts";
import { type KeyedQueue, sandboxKey } from "../calls/keyed-queue.ts";
import type { HeldPorts } from "../ports/held-ports.ts";
import type { RejectedPorts } from "../ports/rejected-ports.ts";

interface ConfirmationsOptions {
  ipam: Pick<IpamClient, "claim" | "release">;
  held: HeldPorts;
  queue: KeyedQueue;
  rejected: Pick<RejectedPorts, "disconnect">;
}

interface Unconfirmed {
  error: unknown;
  /** Of journal entries that must not be delivered before the claim; see `listKeys`. */
  keys: string[];
}

/** A release of the port's earlier sandbox would free the address that the new one uses. */
function listOwnKeys({ sandbox }: Claim, attachment: PortAttachment): string[] {
  const sandboxes = [sandbox, findBinding(attachment).sandbox].filter(each => each !== undefined);
  return [formatPortKey(attachment.port.name), ...sandboxes.map(formatSandboxKey)];
}

/**
 * Claims of held ports that were plugged while the IPAM was unreachable, and are not yet confirmed. In memory only: after a
 * restart the binding and the plugged port still agree by owner and epoch, and DEL releases by owner.
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

  /** Claims all pending ports. Resolves with those that failed and must be claimed again. */
  async confirmAll(): Promise<Unconfirmed[]> {
    const entries = [...this.#waiting];
    const outcomes = await Promise.allSettled(
      entries.map(([key, entry]) =>
        this.#options.queue.run(key, () => this.#confirm(key, entry.claim, entry.expected)),
      ),
    );
    return entries.flatMap(([, { claim, expected }], index) => {
      const outcome = outcomes[index];
      return outcome?.status === "rejected" ? [{ error: outcome.reason, keys: listOwnKeys(claim, expected) }] : [];
    });
  }

  /** Runs inside the sandbox's queue, because a claim that is sent after its DEL would never be released. */
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
        await rejected.disconnect(claim, "the port has another binding now");
        await ipam.release([{ name: attachment.port.name, host: claim.host, sandbox }]);
      }
    } catch (error) {
      const refusal = IpamError.from(error);
      if (!isFinalRejection(refusal)) throw error;
      await rejected.disconnect(claim, refusal.message);
    }
    this.#waiting.delete(key);
  }
}
