import type { Release, Report } from "../ipam-server/contract/index.ts";
import { isObject } from "./spec/shape.ts";

/** A release whose host is left to the one that delivers it: the executable does not know its node's name behind an agent. */
export type PendingRelease = Omit<Release, "host"> & { host?: string };

/** What could not be told to the IPAM yet. Every kind is idempotent: to deliver one twice does no harm. */
export type JournalEntry = { kind: "release"; release: PendingRelease } | { kind: "report"; report: Report };

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
  return undefined;
}

function isRelease(value: unknown): value is PendingRelease {
  if (!isObject(value)) return false;
  const { host, name, sandbox, ownerUid } = value;
  const optional = [host, name, ownerUid].every(text => text === undefined || typeof text === "string");
  const known = isObject(sandbox) && typeof sandbox.id === "string" && typeof sandbox.interface === "string";
  return optional && (sandbox === undefined ? ownerUid !== undefined : known);
}

function isReport(value: unknown): value is Report {
  if (!isObject(value)) return false;
  const texts = [value.name, value.plane, value.state].every(text => typeof text === "string");
  return texts && Number.isInteger(value.epoch);
}
