import fs from "node:fs";
import { ERROR_CODES } from "../ipam-server/contract/error-codes.ts";
import type { Problem, Release, Report } from "../ipam-server/contract/index.ts";
import type { IpamClient } from "./ipam-client.ts";
import type { Journal } from "./journal.ts";
import type { JournalEntry } from "./journal-entry.ts";
import { lockJournal } from "./journal-lock.ts";

export interface DeliveryOptions {
  /** Stands in for entries that were written without knowing it. */
  host: string;
  /** One line for people; a delivery that left something behind says so. */
  log: (line: string) => void;
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
  { host, log, timeoutMs = 5000 }: DeliveryOptions,
): Promise<void> {
  const patience = { timeoutMs, repeats: 0 };
  for (const run of await readRuns(journal, names, log)) {
    const results =
      run.kind === "release"
        ? await ipam.release(
            run.items.map((release): Release => ({ host, ...release })),
            patience,
          )
        : await ipam.report(run.items, patience);
    for (const [index, result] of results.entries()) {
      const name = run.names[index];
      if (name === undefined) continue;
      if (!("problem" in result)) await journal.remove(name);
      else await keepRefused(journal, name, result.problem, log);
    }
  }
}

/** What another try may mend stays in its place; what the IPAM will never take is set aside for people. */
async function keepRefused(
  journal: Journal,
  name: string,
  problem: Problem,
  log: (line: string) => void,
): Promise<void> {
  const { retry } = ERROR_CODES[problem.code];
  log(`journal ${journal.dir}: ${name} was refused (${problem.detail})${retry ? "" : " and is set aside in damaged/"}`);
  if (!retry) await journal.setAside(name);
}

type Kind = JournalEntry["kind"];
type Run = { names: string[] } & (
  | { kind: "release"; items: Extract<JournalEntry, { kind: "release" }>["release"][] }
  | { kind: "report"; items: Report[] }
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
  }
  return runs;
}

function startRun(kind: Kind): Run {
  return { kind, names: [], items: [] };
}

async function removeStaleDrafts(dir: string): Promise<void> {
  const drafts = (await fs.promises.readdir(dir)).filter(name => name.endsWith(".draft"));
  for (const draft of drafts) {
    const { mtimeMs } = await fs.promises.stat(`${dir}/${draft}`).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > STALE_DRAFT_MS) await fs.promises.rm(`${dir}/${draft}`, { force: true });
  }
}
