import {
  type Activation,
  type ActivationResult,
  type Claim,
  type ClaimResult,
  IpamError,
  type Port,
  type PortPrecondition,
  type PortReservation,
  type Problem,
  type Release,
  type ReleaseResult,
  type Report,
  type ReportResult,
  type WorkloadReport,
  type WorkloadReportResult,
} from "../../contract/index.ts";
import type { PortRecord } from "./port-record.ts";

/** One item of a batch. Items are decided in order; one bad item fails alone. */
export type Mutation =
  | { kind: "claim"; claim: Claim; caller: string }
  | { kind: "activate"; activation: Activation; caller: string }
  | { kind: "release"; release: Release; caller: string }
  | { kind: "report"; report: Report; caller: string }
  | { kind: "workloadReport"; report: WorkloadReport; caller: string }
  | { kind: "reserve"; name: string; reservation: PortReservation; caller: string }
  | { kind: "protect"; name: string; protected: boolean; caller: string }
  | { kind: "deletePort"; name: string; precondition?: PortPrecondition; caller: string }
  /** Ends the binding and deletes the port, if its last claim came from this cluster. */
  | { kind: "purgePort"; name: string; cluster: string; caller: string }
  | { kind: "clearConflict"; address: string; network?: string; caller: string };

/** `expire`: the store itself asks to delete an unbound port whose retention has ended. */
export type Item = Mutation | { kind: "expire"; name: string; caller: string };

export type ReserveResult = { port: Port; created: boolean };

/** The result of a mutation of each kind; an IpamError's problem when it failed alone. */
export interface OutcomeByKind {
  claim: ClaimResult;
  activate: ActivationResult;
  release: ReleaseResult;
  report: ReportResult;
  workloadReport: WorkloadReportResult;
  reserve: ReserveResult | { problem: Problem };
  protect: ReserveResult | { problem: Problem };
  deletePort: { deleted: Port } | { problem: Problem };
  purgePort: { purged: "deleted" | "unbound" | "kept" } | { problem: Problem };
  clearConflict: { cleared: true } | { problem: Problem };
}
export type Outcome = OutcomeByKind[Mutation["kind"]];

/** A claim whose times are parsed to milliseconds since the epoch. */
export type ParsedClaim = Omit<Claim, "owner" | "attemptedAt"> & {
  owner: NonNullable<PortRecord["owner"]>;
  attemptedAt: number | undefined;
};

/** How far an owner's time may be ahead of this clock: Kubernetes has clocks of its own. */
const MAX_CLOCK_SKEW_MS = 300_000;

/**
 * Throws `invalid_request` when a time is none. An owner's from a clock that is ahead counts as now, because no newer
 * owner could ever have the port before that time; but not as before the port's owners, because this clock may be behind.
 */
export function parseClaim(claim: Claim, now: number, port?: PortRecord): ParsedClaim {
  const { kind, uid, createdAt } = claim.owner;
  const latest = Math.max(now, port?.owner?.createdAt ?? now, port?.inactive?.owner.createdAt ?? now);
  const time = parseTime(createdAt, "owner.createdAt");
  return {
    ...claim,
    owner: { kind, uid, createdAt: time > now + MAX_CLOCK_SKEW_MS ? Math.min(time, latest) : time },
    attemptedAt: claim.attemptedAt === undefined ? undefined : parseTime(claim.attemptedAt, "attemptedAt"),
  };
}

function parseTime(text: string, field: string): number {
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new IpamError(
    "invalid_request",
    `${field} is ${JSON.stringify(text)}; expected a time such as 2026-11-20T08:00:00.000Z`,
    { field },
  );
}
