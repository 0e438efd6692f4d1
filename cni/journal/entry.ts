import type { Claim, PortAttachment, Release, Report, Sandbox } from "../../ipam-server/contract/index.ts";
import { isObject } from "../spec/shape.ts";

/**
 * A release; the deliverer fills in an absent host, which the executable does not have when an agent is configured.
 */
export type PendingRelease = Omit<Release, "host"> & { host?: string };

/** A claim of a leased address for a pod's sandbox. */
export type LeasedClaim = Claim & Required<Pick<Claim, "name" | "sandbox" | "leasedPort">>;

/** Confirms to the IPAM that a pod uses a leased address. */
export interface PendingClaim {
  claim: LeasedClaim;
  /** The attachment that the pod was plugged with. */
  expected: PortAttachment;
}

/** What could not be delivered to the IPAM yet. Every kind is idempotent: delivering twice does no harm. */
export type JournalEntry =
  | { kind: "release"; release: PendingRelease }
  | { kind: "report"; report: Report }
  | ({ kind: "claim" } & PendingClaim);

export function formatEntry(entry: JournalEntry): string {
  return `${JSON.stringify({ version: 1, ...entry })}\n`;
}

/** What the entry is about: entries that share a key are delivered in order. */
export function listKeys(entry: JournalEntry): string[] {
  if (entry.kind === "report") return [formatPortKey(entry.report.name)];
  const { name, sandbox } = entry.kind === "release" ? entry.release : entry.claim;
  return [
    ...(name === undefined ? [] : [formatPortKey(name)]),
    ...(sandbox === undefined ? [] : [formatSandboxKey(sandbox)]),
  ];
}

export const formatPortKey = (name: string): string => `port ${name}`;
export const formatSandboxKey = (sandbox: Sandbox): string => `sandbox ${sandbox.id}/${sandbox.interface}`;

/** Undefined if the text is not an entry that this version can deliver. */
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
  const { host, name, sandbox, ownerUid, unplugged = true } = value;
  const texts = [host, name, ownerUid].every(text => text === undefined || typeof text === "string");
  const optional = texts && typeof unplugged === "boolean";
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
