import fs from "node:fs";
import type { IpamClient } from "../../ipam-server/client/client.ts";
import { buildSingleAttempt } from "../../ipam-server/client/retry-policy.ts";
import { ERROR_CODES } from "../../ipam-server/contract/error-codes.ts";
import type { PortAttachment, Problem, Release, Report } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import { removeDrafts } from "../../ipam-server/process/durable-file.ts";
import type { JournalEntry, PendingClaim } from "./entry.ts";
import type { Journal } from "./journal.ts";
import { lockJournal } from "./lock.ts";
import { isFinalRejection } from "./rejection.ts";

export interface DeliveryOptions {
  /** The host of entries that were written without one. */
  host: string;
  /** Logs one line for each entry or run that was not delivered. */
  log: (line: string) => void;
  /**
   * Called with the IPAM's answer to a claim before its entry is removed: another binding than expected, or a final
   * rejection. Rejects to keep the entry. Default: does nothing.
   */
  settleClaim?: (entry: PendingClaim, outcome: PortAttachment | IpamError) => Promise<void>;
  /** Limits the work that one call does for earlier ones. */
  maxBatches?: number;
  timeoutMs?: number;
}

const BATCH = 100;
/** An older draft belongs to a process that died before it acknowledged its entry. */
const STALE_DRAFT_MS = 600_000;

/**
 * Delivers entries to the IPAM, oldest first. Does nothing while another process delivers. Rejects with IpamError if
 * the IPAM is unreachable; undelivered entries stay.
 */
export async function deliverJournal(journal: Journal, ipam: IpamClient, options: DeliveryOptions): Promise<void> {
  if (journal.isEmpty()) return;
  await using lock = await lockJournal(journal.dir);
  if (lock === undefined) return;
  const { maxBatches = 10 } = options;
  const names = await journal.list();
  for (let start = 0; start < Math.min(names.length, maxBatches * BATCH); start += BATCH) {
    await deliverBatch(journal, ipam, names.slice(start, start + BATCH), options);
  }
  await removeStaleDrafts(journal.dir);
}

async function deliverBatch(
  journal: Journal,
  ipam: IpamClient,
  names: string[],
  options: DeliveryOptions,
): Promise<void> {
  const { host, log, timeoutMs = 5000 } = options;
  const policy = buildSingleAttempt(timeoutMs);
  for (const run of await readRuns(journal, names, log)) {
    if (run.kind === "claim") {
      await deliverClaims(journal, ipam, run, options);
      continue;
    }
    const results =
      run.kind === "release"
        ? await ipam.release(
            run.items.map((release): Release => ({ host, ...release })),
            policy,
          )
        : await ipam.report(run.items, policy);
    for (const [index, result] of results.entries()) {
      const name = run.names[index];
      if (name === undefined) continue;
      if (!("problem" in result)) await journal.remove(name);
      else await keepOrSetAside(journal, name, result.problem, log);
    }
  }
}

/**
 * Rejects if any of the claims must be retried; later entries then wait, because a release before its claim would end
 * nothing.
 */
async function deliverClaims(
  journal: Journal,
  ipam: IpamClient,
  { names, items }: { names: string[]; items: PendingClaim[] },
  { log, settleClaim }: DeliveryOptions,
): Promise<void> {
  const answers = await Promise.allSettled(items.map(({ claim }) => ipam.claim(claim)));
  const failures: unknown[] = [];
  for (const [index, entry] of items.entries()) {
    const [name, answer] = [names[index], answers[index]];
    if (name === undefined || answer === undefined) continue;
    try {
      const outcome = answer.status === "fulfilled" ? answer.value : IpamError.from(answer.reason);
      if (outcome instanceof IpamError && !isFinalRejection(outcome)) throw outcome;
      await settleClaim?.(entry, outcome);
      if (outcome instanceof IpamError) await setAside(journal, name, outcome.toProblem(), log);
      else await journal.remove(name);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Keeps an entry whose rejection is worth a retry; moves any other to `damaged/`. */
async function keepOrSetAside(
  journal: Journal,
  name: string,
  problem: Problem,
  log: (line: string) => void,
): Promise<void> {
  if (!ERROR_CODES[problem.code].retry) return setAside(journal, name, problem, log);
  log(`journal ${journal.dir}: ${name} was rejected (${problem.detail})`);
}

async function setAside(journal: Journal, name: string, { detail }: Problem, log: (line: string) => void) {
  log(`journal ${journal.dir}: ${name} was rejected (${detail}) and moved to damaged/`);
  await journal.setAside(name);
}

type Kind = JournalEntry["kind"];
type Run = { names: string[] } & (
  | { kind: "release"; items: Extract<JournalEntry, { kind: "release" }>["release"][] }
  | { kind: "report"; items: Report[] }
  | { kind: "claim"; items: PendingClaim[] }
);

/** Groups consecutive entries of one kind into one request, which keeps the order of events. */
async function readRuns(journal: Journal, names: string[], log: (line: string) => void): Promise<Run[]> {
  const runs: Run[] = [];
  for (const name of names) {
    const entry = await journal.read(name);
    if (entry === undefined) {
      log(`journal ${journal.dir}: ${name} is damaged or gone; if damaged, it is kept in damaged/`);
      continue;
    }
    const last = runs.at(-1);
    const run = last?.kind === entry.kind ? last : startRun(entry.kind);
    if (run !== last) runs.push(run);
    run.names.push(name);
    if (run.kind === "release" && entry.kind === "release") run.items.push(entry.release);
    if (run.kind === "report" && entry.kind === "report") run.items.push(entry.report);
    if (run.kind === "claim" && entry.kind === "claim") run.items.push(entry);
  }
  return runs;
}

function startRun(kind: Kind): Run {
  return { kind, names: [], items: [] };
}

function removeStaleDrafts(dir: string): Promise<void> {
  return removeDrafts(dir, async draft => {
    const { mtimeMs } = await fs.promises.stat(draft).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    return Date.now() - mtimeMs > STALE_DRAFT_MS;
  });
}
