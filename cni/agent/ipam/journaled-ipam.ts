import type { IpamClient } from "../../../ipam-server/client/client.ts";
import type { Claim, Release, Report } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import type { Journal } from "../../journal/journal.ts";
import { describeError } from "../../spec/cni-error.ts";
import { buildUnusedRelease } from "../calls/build-release.ts";
import { rejectOnAbort } from "../calls/reject-on-abort.ts";
import { type ClaimBuilder, isSameRequest } from "../claims/claim-builder.ts";
import type { Leases } from "../leases/leases.ts";
import type { UnreportedLeases } from "../leases/unreported-leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { HeldPorts } from "../ports/held-ports.ts";
import type { AgentIpam } from "./agent-ipam.ts";

export interface JournaledIpamOptions {
  ipam: AgentIpam;
  claims: Pick<ClaimBuilder, "explain">;
  held: HeldPorts;
  leases: Pick<Leases, "observe">;
  unreported: UnreportedLeases;
  metrics: AgentMetrics;
}

interface JournaledIpamCall {
  command: string;
  signal: AbortSignal;
  /** The journal of the call's network. */
  journal: Journal;
}

/**
 * The IPAM client of one call. Claims and releases of a sandbox with an unreported lease go to the journal, all others to
 * the IPAM. Keeps the cache of held ports current.
 */
export function createJournaledIpam(options: JournaledIpamOptions, call: JournaledIpamCall): IpamClient {
  const { ipam, claims, held, leases, unreported, metrics } = options;
  const { command, signal, journal } = call;
  return {
    async claim(claim) {
      const assignment = unreported.find(claim.sandbox);
      if (assignment !== undefined) return metrics.time(command, "claim", unreported.record(assignment, journal));
      try {
        await releaseStalePreclaim(options, claim);
        const attachment = await metrics.time(command, "claim", rejectOnAbort(ipam.claim(claim), signal));
        leases.observe(claim, attachment);
        const { sandbox, owner } = claim;
        if (sandbox !== undefined) {
          const { port } = attachment;
          held.put(owner.uid, sandbox.interface, { port, attachment, claim, sandboxId: sandbox.id });
        }
        return attachment;
      } catch (error) {
        throw claims.explain(error, claim);
      }
    },
    async release(releases, policy) {
      // Before the IPAM answers, because from here on no ADD may expect a port of this sandbox.
      for (const release of releases) {
        dropHeld(held, release);
        if (release.conflict !== undefined) metrics.addressConflicts.inc();
      }
      const results = releases.map(
        release => unreported.releaseAfterClaim(release, policy) ?? ipam.release([release], policy),
      );
      return (await metrics.time(command, "release", Promise.all(results))).flat();
    },
    report: (reports, policy) => metrics.time(command, "report", ipam.report(reports, policy)),
    readPort: async name => unreported.findPort(name)?.expected.port ?? rejectOnAbort(ipam.readPort(name), signal),
    ready: () => rejectOnAbort(ipam.ready(), signal),
    async [Symbol.asyncDispose]() {},
  };
}

interface PostReportCall {
  command: string;
  journal: Journal;
  log(line: string): void;
}

/**
 * Sends a report without waiting for the answer, because it must not delay the pod. Journals what fails, and defers the
 * report of an unreported lease until its claim is delivered.
 */
export function postReport(
  { ipam, unreported, metrics }: Pick<JournaledIpamOptions, "ipam" | "unreported" | "metrics">,
  { command, journal, log }: PostReportCall,
  report: Report,
  timeouts: Parameters<IpamClient["report"]>[1],
): void {
  if (unreported.deferReport(report)) return;
  void metrics
    .time(command, "report", ipam.report([report], timeouts))
    .catch(async error => {
      await journal.append({ kind: "report", report });
      log(`report of port ${report.name} is journaled: ${describeError(error)}`);
    })
    .catch(error => log(`report of port ${report.name} is lost: ${describeError(error)}`));
}

/** Releases the owner's pre-claim if it was made with another request, because an annotation has changed since. */
async function releaseStalePreclaim(
  { held, ipam }: Pick<JournaledIpamOptions, "held" | "ipam">,
  claim: Claim,
): Promise<void> {
  const { owner, sandbox } = claim;
  const found = sandbox && held.find(owner.uid, sandbox.interface);
  if (found?.claim === undefined || found.sandboxId !== undefined || isSameRequest(found.claim, claim)) return;
  held.drop(owner.uid, sandbox?.interface ?? DEFAULT_INTERFACE);
  await ipam.release([buildUnusedRelease(found.port.name, claim.host, owner.uid)]);
}

function dropHeld(held: HeldPorts, { sandbox, ownerUid }: Release): void {
  if (sandbox === undefined) return;
  held.dropSandbox(sandbox.id, sandbox.interface);
  if (ownerUid !== undefined) held.drop(ownerUid, sandbox.interface);
}
