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

interface UnreportedLeasesOptions {
  ipam: Pick<IpamClient, "release" | "report">;
  held: HeldPorts;
  queue: KeyedQueue;
  rejected: Pick<RejectedPorts, "disconnect">;
  metrics: Pick<AgentMetrics, "leases">;
  log: Logger;
}

/** A leased address that is assigned to a pod and not yet confirmed by the IPAM. */
interface LeaseAssignment extends PendingClaim {
  /** The journal of the claim, and of later entries of its sandbox. Undefined before the first attempt to write it. */
  journal?: Journal;
  isWritten: boolean;
  isReleased: boolean;
  report?: Report;
}

/**
 * Leased addresses assigned to pods and not yet confirmed by the IPAM. Each claim is durable in the journal before its ADD
 * is answered. The release of the same sandbox is journaled after its claim.
 */
export class UnreportedLeases {
  readonly #options: UnreportedLeasesOptions;
  /** By lease name. */
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

  /** True if the lease is assigned to a pod and not yet confirmed. */
  has(leasedPort: string): boolean {
    return this.#waiting.has(leasedPort);
  }

  /** Assigns the lease to the claim's sandbox, in memory. Call `record` next. */
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

  /** Returns the sandbox's latest unconfirmed assignment. */
  find(sandbox: Sandbox | undefined): LeaseAssignment | undefined {
    if (sandbox === undefined || this.#waiting.size === 0) return undefined;
    return this.#findLast(({ claim }) => isSame(claim.sandbox, sandbox));
  }

  findPort(name: string): LeaseAssignment | undefined {
    return this.#waiting.size === 0 ? undefined : this.#findLast(({ claim }) => claim.name === name);
  }

  /** Journals the claim. Once it resolves the pod may use the address. Rejects with CniError `tryAgain`. */
  async record(assignment: LeaseAssignment, journal: Journal): Promise<PortAttachment> {
    if (assignment.isReleased) {
      throw new IpamError("unavailable", `port ${assignment.claim.name} is not yet released by this sandbox`);
    }
    assignment.journal = journal;
    const { claim, expected } = assignment;
    if (!assignment.isWritten) await journal.append({ kind: "claim", claim, expected });
    assignment.isWritten = true;
    this.#onRecorded();
    return expected;
  }

  /** Defers the report of an unconfirmed port until its claim is delivered. Returns false for any other port. */
  deferReport(report: Report): boolean {
    const assignment = this.findPort(report.name);
    if (assignment === undefined) return false;
    assignment.report = report;
    return true;
  }

  /** Journals the release after the sandbox's claim. Returns undefined if it has none: release at once. */
  releaseAfterClaim(release: Release, policy?: RetryPolicy): Promise<ReleaseResult[]> | undefined {
    const assignment = this.find(release.sandbox);
    return assignment?.journal === undefined
      ? undefined
      : this.#journalRelease(assignment, assignment.journal, release, policy);
  }

  async #journalRelease(
    assignment: LeaseAssignment,
    journal: Journal,
    release: Release,
    policy: RetryPolicy | undefined,
  ): Promise<ReleaseResult[]> {
    assignment.isReleased = true;
    // Without a journaled claim nothing settles the assignment. The sweep releases the lease.
    const dropUnwritten = () => !assignment.isWritten && this.#waiting.delete(assignment.claim.leasedPort);
    try {
      await journal.append({ kind: "release", release });
    } catch (error) {
      // If the claim was not written either, the release need not follow it.
      if (!dropUnwritten()) throw error;
      return this.#options.ipam.release([release], policy);
    }
    dropUnwritten();
    this.#onRecorded();
    return [{ released: true, name: assignment.claim.name, deleted: true }];
  }

  /** Restores the assignments of the previous process from the journals. Skips damaged entries. */
  async restore(journals: Journals): Promise<void> {
    for (const journal of journals.all()) {
      for (const name of await journal.list()) {
        const entry = await journal.read(name);
        if (entry === "gone" || entry === "damaged") continue;
        if (entry.kind === "claim") {
          const { leasedPort, ...claim } = entry.claim;
          this.begin(claim as LeasedClaim, { leasedPort, attachment: entry.expected });
          Object.assign(this.#waiting.get(leasedPort) ?? {}, { journal, isWritten: true });
        } else if (entry.kind === "release" && entry.release.sandbox !== undefined) {
          const { sandbox } = entry.release;
          const assignment = this.find(sandbox);
          if (assignment !== undefined) assignment.isReleased = true;
          this.#options.held.dropSandbox(sandbox.id, sandbox.interface);
        }
      }
    }
  }

  /** See `DeliveryOptions.settleClaim`. */
  async settle({ claim, expected }: PendingClaim, outcome: PortAttachment | IpamError): Promise<void> {
    const { metrics } = this.#options;
    const assignment = this.#waiting.get(claim.leasedPort);
    if (outcome instanceof IpamError) {
      metrics.leases.inc({ outcome: "refused" });
      await this.#disconnect(claim, assignment, outcome.message);
    } else if (isSameBinding(outcome, expected)) {
      metrics.leases.inc({ outcome: "confirmed" });
      this.#refresh(claim, outcome);
    } else {
      metrics.leases.inc({ outcome: "refused" });
      await this.#disconnect(claim, assignment, "the port has another binding now");
      await this.#releaseOther(claim, outcome);
    }
    this.#waiting.delete(claim.leasedPort);
    if (assignment?.report !== undefined && !assignment.isReleased) this.#report(assignment.report, assignment.journal);
  }

  #refresh({ leasedPort: _leasedPort, ...claim }: LeasedClaim, attachment: PortAttachment): void {
    const { held } = this.#options;
    const { owner, sandbox } = claim;
    const found = held.find(owner.uid, sandbox.interface);
    // A DEL may have dropped it.
    if (found?.port.id !== attachment.port.id) return;
    held.put(owner.uid, sandbox.interface, { port: attachment.port, attachment, claim, sandboxId: sandbox.id });
  }

  /** Runs inside the sandbox's queue, because a DEL may have released it or be waiting. */
  async #disconnect(claim: LeasedClaim, assignment: LeaseAssignment | undefined, reason: string): Promise<void> {
    const { queue, rejected } = this.#options;
    const { sandbox } = claim;
    await queue.run(sandboxKey(sandbox.id, sandbox.interface), async () => {
      if (!assignment?.isReleased) await rejected.disconnect(claim, reason);
    });
  }

  /** Releases the binding that the IPAM granted instead, unless another call has claimed it: nothing is plugged for it. */
  async #releaseOther({ host, sandbox, owner }: LeasedClaim, { port }: PortAttachment): Promise<void> {
    const { held, ipam } = this.#options;
    if (held.find(owner.uid, sandbox.interface)?.port.id === port.id) return;
    await ipam.release([{ name: port.name, host, sandbox }]);
  }

  #report(report: Report, journal: Journal | undefined): void {
    const { ipam, log } = this.#options;
    ipam
      .report([report])
      .catch(() => journal?.append({ kind: "report", report }))
      .catch(error => log.warn({ port: report.name, reason: describeError(error) }, "report is lost"));
  }

  /** The later one counts, because a sandbox that was released and plugged again has two. */
  #findLast(is: (assignment: LeaseAssignment) => boolean): LeaseAssignment | undefined {
    return [...this.#waiting.values()].findLast(is);
  }
}

const isSame = (a: Sandbox, b: Sandbox): boolean => a.id === b.id && a.interface === b.interface;

const isSameBinding = (a: PortAttachment, b: PortAttachment): boolean =>
  a.port.id === b.port.id && a.port.epoch === b.port.epoch;
