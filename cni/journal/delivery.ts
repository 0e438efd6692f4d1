import fs from "node:fs";
import type { IpamClient } from "../../ipam-server/client/client.ts";
import { buildSingleAttempt } from "../../ipam-server/client/retry-policy.ts";
import { TransportError } from "../../ipam-server/client/transport-error.ts";
import { ERROR_CODES } from "../../ipam-server/contract/error-codes.ts";
import type { PortAttachment, Problem } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import { removeDrafts } from "../../ipam-server/process/durable-file.ts";
import { describeError } from "../spec/cni-error.ts";
import { type JournalEntry, listKeys, type PendingClaim } from "./entry.ts";
import { type Journal, pruneDamaged } from "./journal.ts";
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
  /** Keys of entries that must stay for now; see `listKeys`. */
  waiting?: Iterable<string>;
  /** Limits the work that one call does for earlier ones. */
  maxBatches?: number;
  timeoutMs?: number;
}

const BATCH = 100;
/** An older draft belongs to a process that died before it acknowledged its entry. */
const STALE_DRAFT_MS = 600_000;

/**
 * Delivers entries to the IPAM, oldest first. Does nothing while another process delivers. An entry that must be retried
 * stays, with the later ones of its port and sandbox; the others are delivered. Rejects with IpamError if the IPAM is
 * unreachable, or a claim must be retried.
 */
export async function deliverJournal(journal: Journal, ipam: IpamClient, options: DeliveryOptions): Promise<void> {
  if (journal.isEmpty()) return;
  await using lock = await lockJournal(journal.dir);
  if (lock === undefined) return;
  const { maxBatches = 10 } = options;
  const delivery: Delivery = { ...options, journal, ipam, waiting: new Set(options.waiting), failures: [] };
  for (const name of await journal.listStray()) {
    await setAside(delivery, name, "is no entry");
  }
  const names = await journal.list();
  for (let start = 0; start < Math.min(names.length, maxBatches * BATCH); start += BATCH) {
    for (const run of await readRuns(delivery, names.slice(start, start + BATCH))) await deliverRun(delivery, run);
  }
  await removeStaleDrafts(journal.dir);
  if (delivery.failures.length > 0) throw delivery.failures[0];
}

interface Delivery extends DeliveryOptions {
  journal: Journal;
  ipam: IpamClient;
  /** Keys of entries that stay; see `listKeys`. */
  waiting: Set<string>;
  failures: unknown[];
}

interface Named<E extends JournalEntry = JournalEntry> {
  name: string;
  entry: E;
}

async function deliverRun(delivery: Delivery, run: Named[]): Promise<void> {
  const ready = run.filter(({ entry }) => {
    const keys = listKeys(entry);
    const waits = keys.some(key => delivery.waiting.has(key));
    if (waits) keep(delivery, entry);
    return !waits;
  });
  const releases = ready.filter((each): each is Named<ReleaseEntry> => each.entry.kind === "release");
  const reports = ready.filter((each): each is Named<ReportEntry> => each.entry.kind === "report");
  const claims = ready.filter((each): each is Named<ClaimEntry> => each.entry.kind === "claim");
  const { ipam, host, timeoutMs = 5000 } = delivery;
  const policy = buildSingleAttempt(timeoutMs);
  if (releases.length > 0) {
    const items = releases.map(({ entry }) => ({ host, ...entry.release }));
    await settle(delivery, releases, await ipam.release(items, policy));
  }
  if (reports.length > 0) {
    const items = reports.map(({ entry }) => entry.report);
    await settle(delivery, reports, await ipam.report(items, policy));
  }
  if (claims.length > 0) await deliverClaims(delivery, claims);
}

/** Removes delivered entries and sets finally rejected ones aside. */
async function settle(delivery: Delivery, entries: Named[], results: (object | { problem: Problem })[]): Promise<void> {
  const { journal, log } = delivery;
  for (const [index, { name, entry }] of entries.entries()) {
    const result = results[index];
    if (result === undefined) continue;
    if (!("problem" in result)) {
      await journal.remove(name);
    } else if (!ERROR_CODES[result.problem.code].retry) {
      await setAside(delivery, name, `was rejected (${result.problem.detail})`);
    } else {
      keep(delivery, entry);
      log(`journal ${journal.dir}: ${name} was rejected (${result.problem.detail})`);
    }
  }
}

/** Rejects if the IPAM is unreachable. A release stays with its claim, because before its claim it would end nothing. */
async function deliverClaims(delivery: Delivery, claims: Named<ClaimEntry>[]): Promise<void> {
  const { journal, ipam, settleClaim } = delivery;
  const answers = await Promise.allSettled(claims.map(({ entry }) => ipam.claim(entry.claim)));
  for (const [index, { name, entry }] of claims.entries()) {
    const answer = answers[index];
    if (answer === undefined) continue;
    try {
      const outcome = answer.status === "fulfilled" ? answer.value : IpamError.from(answer.reason);
      if (outcome instanceof IpamError && !isFinalRejection(outcome)) throw outcome;
      await settleClaim?.(entry, outcome);
      if (outcome instanceof IpamError) await setAside(delivery, name, `was rejected (${outcome.message})`);
      else await journal.remove(name);
    } catch (error) {
      keep(delivery, entry);
      delivery.failures.push(error);
    }
  }
  const away = delivery.failures.find(error => error instanceof Error && error.cause instanceof TransportError);
  if (away !== undefined) throw away;
}

function keep({ waiting }: Delivery, entry: JournalEntry): void {
  for (const key of listKeys(entry)) waiting.add(key);
}

async function setAside({ journal, log }: Delivery, name: string, why: string): Promise<void> {
  try {
    await journal.setAside(name);
    log(`journal ${journal.dir}: ${name} ${why} and moved to damaged/`);
  } catch (error) {
    log(`journal ${journal.dir}: ${name} ${why} and cannot be moved to damaged/: ${describeError(error)}`);
    return;
  }
  await pruneDamaged(journal.dir, log);
}

type ReleaseEntry = Extract<JournalEntry, { kind: "release" }>;
type ReportEntry = Extract<JournalEntry, { kind: "report" }>;
type ClaimEntry = Extract<JournalEntry, { kind: "claim" }>;

/** Groups consecutive entries of one kind into one request, which keeps the order of events. Sets damaged ones aside. */
async function readRuns(delivery: Delivery, names: string[]): Promise<Named[][]> {
  const runs: Named[][] = [];
  for (const name of names) {
    const entry = await delivery.journal.read(name);
    if (entry === "gone") continue;
    if (entry === "damaged") {
      await setAside(delivery, name, "is damaged");
      continue;
    }
    const last = runs.at(-1);
    if (last?.[0]?.entry.kind === entry.kind) last.push({ name, entry });
    else runs.push([{ name, entry }]);
  }
  return runs;
}

function removeStaleDrafts(dir: string): Promise<void> {
  return removeDrafts(dir, async draft => {
    const { mtimeMs } = await fs.promises.stat(draft).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    return Date.now() - mtimeMs > STALE_DRAFT_MS;
  });
}
