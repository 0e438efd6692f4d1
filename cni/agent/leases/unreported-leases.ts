import type { Logger } from "pino";
import type { IpamClient } from "../../../ipam-server/client/client.ts";
import type { RetryPolicy } from "../../../ipam-server/client/retry-policy.ts";
import type {
  Claim,
  PortAttachment,
  Release,
  ReleaseResult,
  Report,
  Sandbox,
} from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { LeasedClaim, PendingClaim } from "../../journal/entry.ts";
import type { Journal } from "../../journal/journal.ts";
import { describeError } from "../../spec/cni-error.ts";
import { type KeyedQueue, sandboxKey } from "../calls/keyed-queue.ts";
import type { Journals } from "../ipam/journals.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { HeldPorts } from "../ports/held-ports.ts";
import type { RejectedPorts } from "../ports/rejected-ports.ts";
import type { AssignedLease } from "./leases.ts";

export interface UnreportedLeasesOptions {
  ipam: Pick<IpamClient, "release" | "report">;
  held: HeldPorts;
  queue: KeyedQueue;
  rejected: Pick<RejectedPorts, "unplug">;
  metrics: Pick<AgentMetrics, "leases">;
  log: Logger;
}

/** A leased address that a pod has, and of which the IPAM has yet to hear. */
interface LeaseAssignment extends PendingClaim {
  /** Where the claim stands, and whatever concerns its sandbox goes behind it. Undefined before it was tried to write it. */
  journal?: Journal;
  isWritten: boolean;
  isReleased: boolean;
  report?: Report;
}

/**
 * What pods were given of this node's leases until the IPAM has heard of it. The claim is written to the journal, durable
 * before the pod's ADD is answered, and delivered with what else waits there; what the IPAM is to hear of the same sandbox
 * meanwhile goes behind it.
 */
export class UnreportedLeases {
  readonly #options: UnreportedLeasesOptions;
  /** By the lease's name. */
  readonly #waiting = new Map<string, LeaseAssignment>();
  #onRecorded: () => void = () => {};

  constructor(options: UnreportedLeasesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Calls back after each entry that is journaled for delivery. */
  onRecorded(listener: () => void): void {
    this.#onRecorded = listener;
  }

  /** Whether a pod was given this lease, and the IPAM may not know. */
  has(leasedPort: string): boolean {
    return this.#waiting.has(leasedPort);
  }

  /** From here on the address is the pod's. `record` must follow. */
  begin(claim: Claim & { name: string; sandbox: Sandbox }, { leasedPort, attachment }: AssignedLease): void {
    const { held } = this.#options;
    const { owner, sandbox } = claim;
    this.#waiting.set(leasedPort, {
      claim: { ...claim, leasedPort },
      expected: attachment,
      isWritten: false,
      isReleased: false,
    });
    held.put(owner.uid, sandbox.interface, { port: attachment.port, attachment, claim, sandboxId: sandbox.id });
  }

  /** Undefined when the sandbox has nothing that the IPAM has yet to hear of. */
  find(sandbox: Sandbox | undefined): LeaseAssignment | undefined {
    if (sandbox === undefined || this.#waiting.size === 0) return undefined;
    return this.#findLast(({ claim }) => isSame(claim.sandbox, sandbox));
  }

  findPort(name: string): LeaseAssignment | undefined {
    return this.#waiting.size === 0 ? undefined : this.#findLast(({ claim }) => claim.name === name);
  }

  /** Durable when it resolves: the pod may use the address. Rejects with CniError `tryAgain`. */
  async record(taking: LeaseAssignment, journal: Journal): Promise<PortAttachment> {
    if (taking.isReleased) {
      throw new IpamError("unavailable", `port ${taking.claim.name} is yet to be given back by this sandbox`);
    }
    taking.journal = journal;
    const { claim, expected } = taking;
    if (!taking.isWritten) await journal.append({ kind: "claim", claim, expected });
    taking.isWritten = true;
    this.#onRecorded();
    return expected;
  }

  /** The report of a port that the IPAM does not know by its name yet: told when it does. */
  deferReport(report: Report): boolean {
    const taking = this.findPort(report.name);
    if (taking === undefined) return false;
    taking.report = report;
    return true;
  }

  /** Undefined when the sandbox's end can be told at once. Else it is durable when this resolves, and told in order. */
  releaseAfterClaim(release: Release, policy?: RetryPolicy): Promise<ReleaseResult[]> | undefined {
    const taking = this.find(release.sandbox);
    return taking?.journal === undefined ? undefined : this.#releaseBehind(taking, taking.journal, release, policy);
  }

  async #releaseBehind(
    taking: LeaseAssignment,
    journal: Journal,
    release: Release,
    policy: RetryPolicy | undefined,
  ): Promise<ReleaseResult[]> {
    taking.isReleased = true;
    // Nothing will be delivered that could settle it; the lease itself is found by the sweep.
    const forget = () => !taking.isWritten && this.#waiting.delete(taking.claim.leasedPort);
    try {
      await journal.append({ kind: "release", release });
    } catch (error) {
      // A claim that could not be written either has nothing to go behind.
      if (!forget()) throw error;
      return this.#options.ipam.release([release], policy);
    }
    forget();
    this.#onRecorded();
    return [{ released: true, name: taking.claim.name, deleted: true }];
  }

  /** What the process before left in the journals. What cannot be read is delivered or set aside all the same. */
  async restore(journals: Journals): Promise<void> {
    for (const journal of journals.all()) {
      for (const name of await journal.list()) {
        const entry = await journal.read(name);
        if (entry?.kind === "claim") {
          const { leasedPort, ...claim } = entry.claim;
          this.begin(claim as LeasedClaim, { leasedPort, attachment: entry.expected });
          Object.assign(this.#waiting.get(leasedPort) ?? {}, { journal, isWritten: true });
        } else if (entry?.kind === "release" && entry.release.sandbox !== undefined) {
          const { sandbox } = entry.release;
          const taking = this.find(sandbox);
          if (taking !== undefined) taking.isReleased = true;
          this.#options.held.dropSandbox(sandbox.id, sandbox.interface);
        }
      }
    }
  }

  /** See `DeliveryOptions.settleClaim`. */
  async settle({ claim, expected }: PendingClaim, outcome: PortAttachment | IpamError): Promise<void> {
    const { metrics } = this.#options;
    const taking = this.#waiting.get(claim.leasedPort);
    if (outcome instanceof IpamError) {
      metrics.leases.inc({ outcome: "refused" });
      await this.#unplug(claim, taking, outcome.message);
    } else if (isSameBinding(outcome, expected)) {
      metrics.leases.inc({ outcome: "confirmed" });
      this.#refresh(claim, outcome);
    } else {
      metrics.leases.inc({ outcome: "refused" });
      await this.#unplug(claim, taking, "the IPAM gives it another binding by now");
      await this.#giveUp(claim, outcome);
    }
    this.#waiting.delete(claim.leasedPort);
    if (taking?.report !== undefined && !taking.isReleased) this.#report(taking.report, taking.journal);
  }

  #refresh({ leasedPort: _told, ...claim }: LeasedClaim, attachment: PortAttachment): void {
    const { held } = this.#options;
    const { owner, sandbox } = claim;
    const found = held.find(owner.uid, sandbox.interface);
    // Its DEL may have come meanwhile.
    if (found?.port.id !== attachment.port.id) return;
    held.put(owner.uid, sandbox.interface, { port: attachment.port, attachment, claim, sandboxId: sandbox.id });
  }

  /** In turn with the sandbox's calls: its DEL may have come, or come first. */
  async #unplug(claim: LeasedClaim, taking: LeaseAssignment | undefined, reason: string): Promise<void> {
    const { queue, rejected } = this.#options;
    const { sandbox } = claim;
    await queue.run(sandboxKey(sandbox.id, sandbox.interface), async () => {
      if (!taking?.isReleased) await rejected.unplug(claim, reason);
    });
  }

  /** Nothing is plugged for what the IPAM answered, unless another call has asked for it. */
  async #giveUp({ host, sandbox, owner }: LeasedClaim, { port }: PortAttachment): Promise<void> {
    const { held, ipam } = this.#options;
    if (held.find(owner.uid, sandbox.interface)?.port.id === port.id) return;
    await ipam.release([{ name: port.name, host, sandbox }]);
  }

  #report(report: Report, journal: Journal | undefined): void {
    const { ipam, log } = this.#options;
    ipam
      .report([report])
      .catch(() => journal?.append({ kind: "report", report }))
      .catch(error =>
        log.warn({ port: report.name, reason: describeError(error) }, "a report of the underlay is lost"),
      );
  }

  /** A sandbox that was given back and plugged again has two: the later one counts. */
  #findLast(is: (taking: LeaseAssignment) => boolean): LeaseAssignment | undefined {
    return [...this.#waiting.values()].findLast(is);
  }
}

const isSame = (a: Sandbox, b: Sandbox): boolean => a.id === b.id && a.interface === b.interface;

const isSameBinding = (a: PortAttachment, b: PortAttachment): boolean =>
  a.port.id === b.port.id && a.port.epoch === b.port.epoch;
