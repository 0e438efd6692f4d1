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
  /** Stands in for entries that were written without knowing it. */
  host: string;
  /** One line for people; a delivery that left something behind says so. */
  log: (line: string) => void;
  /**
   * What the IPAM said of a claim, before its entry goes: it may be another binding than expected, or a refusal that will
   * not mend. Rejects when the claim has to be told again. Default: a pod that lost its address is found by others.
   */
  settleClaim?: (entry: PendingClaim, outcome: PortAttachment | IpamError) => Promise<void>;
  /** Bounds what one call does for earlier ones. */
  maxBatches?: number;
  timeoutMs?: number;
}

const BATCH = 100;
/** A draft older than this belongs to a process that died before it acknowledged anything. */
const STALE_DRAFT_MS = 600_000;

/**
 * Tells the IPAM what earlier calls could not, oldest first. Does nothing while another process is at it. Rejects with
 * IpamError when the IPAM cannot be reached; what was not delivered stays.
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
      else await keepRefused(journal, name, result.problem, log);
    }
  }
}

/**
 * Rejects when one of them has to be told again: what is behind it waits, because a release that came before its claim
 * would end nothing.
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

/** What another try may mend stays in its place; what the IPAM will never take is set aside for people. */
async function keepRefused(
  journal: Journal,
  name: string,
  problem: Problem,
  log: (line: string) => void,
): Promise<void> {
  if (!ERROR_CODES[problem.code].retry) return setAside(journal, name, problem, log);
  log(`journal ${journal.dir}: ${name} was refused (${problem.detail})`);
}

async function setAside(journal: Journal, name: string, { detail }: Problem, log: (line: string) => void) {
  log(`journal ${journal.dir}: ${name} was refused (${detail}) and is set aside in damaged/`);
  await journal.setAside(name);
}

type Kind = JournalEntry["kind"];
type Run = { names: string[] } & (
  | { kind: "release"; items: Extract<JournalEntry, { kind: "release" }>["release"][] }
  | { kind: "report"; items: Report[] }
  | { kind: "claim"; items: PendingClaim[] }
);

/** Neighbours of one kind travel together, so that the order of events is kept. */
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
