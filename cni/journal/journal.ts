// Through `fs.promises`, which loads when it is first used: most calls find no journal and never need it.
import fs from "node:fs";
import { writeDurably } from "../../ipam-server/process/durable-file.ts";
import { CNI_CODES, CniError, describeError } from "../spec/cni-error.ts";
import { formatEntry, type JournalEntry, parseEntry } from "./entry.ts";

/**
 * A directory with one file an entry. A file's name is the time of its writing, or that of the newest entry where the clock
 * was set back, so that names sort in order of events; it appears under that name only when its bytes are on the disk.
 * What cannot be read is set aside in `damaged/`.
 */
export interface Journal {
  readonly dir: string;
  /** Durable when it resolves. Rejects with CniError `tryAgain` when the journal is full or cannot be written. */
  append(entry: JournalEntry): Promise<void>;
  /** Cheap, for the start of every call. */
  isEmpty(): boolean;
  /** Names of the entries, oldest first. */
  list(): Promise<string[]>;
  /** Undefined when the entry is gone or damaged; a damaged one is set aside. */
  read(name: string): Promise<JournalEntry | undefined>;
  remove(name: string): Promise<void>;
  /** Keeps an entry for people to look at, out of the way of the others. */
  setAside(name: string): Promise<void>;
}

/** About a day of one node's churn at its busiest; beyond it something has to be looked at by people. */
const MAX_ENTRIES = 10_000;
const ENTRY = /^\d{15}-\d{6}\.json$/;

export interface JournalOptions {
  now: () => Date;
  maxEntries?: number;
}

export function openJournal(dir: string, { now, maxEntries = MAX_ENTRIES }: JournalOptions): Journal {
  return {
    dir,
    async append(entry) {
      try {
        await fs.promises.mkdir(dir, { recursive: true, mode: 0o700 });
        const used = (await fs.promises.readdir(dir)).filter(name => ENTRY.test(name));
        if (used.length >= maxEntries) throw new Error(`it is full (${used.length} entries)`);
        // A clock that was set back must not put this entry before those that wait.
        const newest = used.sort().at(-1) ?? "";
        const time = String(now().getTime()).padStart(15, "0");
        const [, stamp = time] = [newest.slice(0, 15), time].sort();
        const turns = used.filter(name => name.startsWith(stamp)).map(name => Number(name.slice(16, 22)));
        await write(dir, stamp, Math.max(-1, ...turns) + 1, formatEntry(entry));
      } catch (cause) {
        throw new CniError(
          CNI_CODES.tryAgain,
          `the IPAM cannot be told now and the journal ${dir} takes no entry: ${describeError(cause)}: ` +
            "make the IPAM reachable or room in the journal",
          { cause },
        );
      }
    },
    isEmpty() {
      try {
        return !fs.readdirSync(dir).some(name => ENTRY.test(name));
      } catch (error) {
        if (isMissing(error)) return true;
        throw unreadable(dir, error);
      }
    },
    async list() {
      try {
        return (await fs.promises.readdir(dir)).filter(name => ENTRY.test(name)).sort();
      } catch (error) {
        if (isMissing(error)) return [];
        throw unreadable(dir, error);
      }
    },
    async read(name) {
      let text: string;
      try {
        text = await fs.promises.readFile(`${dir}/${name}`, "utf8");
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw unreadable(dir, error);
      }
      const entry = parseEntry(text);
      if (entry === undefined) await setAside(dir, name);
      return entry;
    },
    remove: name => fs.promises.rm(`${dir}/${name}`, { force: true }),
    setAside: name => setAside(dir, name),
  };
}

/** Links each entry under a name that no other process has used, so that two that write in the same millisecond both succeed. */
async function write(dir: string, stamp: string, firstTurn: number, text: string): Promise<void> {
  for (let turn = firstTurn; ; turn++) {
    try {
      await writeDurably(`${dir}/${stamp}-${String(turn).padStart(6, "0")}.json`, text, { replace: false });
      return;
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
  }
}

async function setAside(dir: string, name: string): Promise<void> {
  await fs.promises.mkdir(`${dir}/damaged`, { recursive: true, mode: 0o700 });
  try {
    await fs.promises.rename(`${dir}/${name}`, `${dir}/damaged/${name}`);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

function unreadable(dir: string, cause: unknown): CniError {
  return new CniError(CNI_CODES.io, `the journal ${dir} cannot be read: ${describeError(cause)}`, { cause });
}

function isMissing(error: unknown): boolean {
  return hasCode(error, "ENOENT");
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
