import type { Claim, PortAttachment, Release, Report } from "../../ipam-server/contract/index.ts";
import { isObject } from "../spec/shape.ts";

/** A release whose host is left to the one that delivers it: the executable does not know its node's name behind an agent. */
export type PendingRelease = Omit<Release, "host"> & { host?: string };

/** A node's leased address as a pod's: of a sandbox, by the name of its lease. */
export type LeasedClaim = Claim & Required<Pick<Claim, "name" | "sandbox" | "leasedPort">>;

/** A pod was given a leased address: the IPAM is to hear whose it is, and has to agree. */
export interface PendingClaim {
  claim: LeasedClaim;
  /** What the pod was plugged with. */
  expected: PortAttachment;
}

/** What could not be told to the IPAM yet. Every kind is idempotent: to deliver one twice does no harm. */
export type JournalEntry =
  | { kind: "release"; release: PendingRelease }
  | { kind: "report"; report: Report }
  | ({ kind: "claim" } & PendingClaim);

export function formatEntry(entry: JournalEntry): string {
  return `${JSON.stringify({ version: 1, ...entry })}\n`;
}

/** Undefined when the text is no entry that this program can deliver. */
export function parseEntry(text: string): JournalEntry | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(raw) || raw.version !== 1) return undefined;
  if (raw.kind === "release" && isRelease(raw.release)) return { kind: "release", release: raw.release };
  if (raw.kind === "report" && isReport(raw.report)) return { kind: "report", report: raw.report };
  const { claim, expected } = raw;
  if (raw.kind === "claim" && isLeasedClaim(claim) && isAttachment(expected)) return { kind: "claim", claim, expected };
  return undefined;
}

function isRelease(value: unknown): value is PendingRelease {
  if (!isObject(value)) return false;
  const { host, name, sandbox, ownerUid } = value;
  const optional = [host, name, ownerUid].every(text => text === undefined || typeof text === "string");
  return optional && (sandbox === undefined ? ownerUid !== undefined : isSandbox(sandbox));
}

function isReport(value: unknown): value is Report {
  if (!isObject(value)) return false;
  const texts = [value.name, value.plane, value.state].every(text => typeof text === "string");
  return texts && Number.isInteger(value.epoch);
}

function isLeasedClaim(value: unknown): value is LeasedClaim {
  if (!isObject(value)) return false;
  const { name, host, leasedPort, networkSelector, owner, sandbox } = value;
  const texts = [name, host, leasedPort, networkSelector].every(text => typeof text === "string");
  return texts && isObject(owner) && typeof owner.uid === "string" && isSandbox(sandbox);
}

function isAttachment(value: unknown): value is PortAttachment {
  const port = isObject(value) ? value.port : undefined;
  return isObject(port) && typeof port.id === "string" && Number.isInteger(port.epoch);
}

function isSandbox(value: unknown): boolean {
  return isObject(value) && typeof value.id === "string" && typeof value.interface === "string";
}
