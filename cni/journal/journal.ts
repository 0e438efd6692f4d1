// Uses `fs.promises`, which loads at first use: most calls find an empty journal and never load it.
import fs from "node:fs";
import { writeDurably } from "../../ipam-server/process/durable-file.ts";
import { CNI_CODES, CniError, describeError } from "../spec/cni-error.ts";
import { formatEntry, type JournalEntry, parseEntry } from "./entry.ts";

/**
 * A directory with one durable file for each entry. Names sort in order of events: a name is the time of writing, or
 * the newest entry's time if the clock was set back. What is no entry belongs into `damaged/`.
 */
export interface Journal {
  readonly dir: string;
  /** Durable when it resolves. Rejects with CniError `tryAgain` when the journal is full or cannot be written. */
  append(entry: JournalEntry): Promise<void>;
  /** True if there is neither an entry nor a stray file. Synchronous and cheap, because every call begins with it. */
  isEmpty(): boolean;
  /** Names of the entries, oldest first. */
  list(): Promise<string[]>;
  /** Names of files and folders that do not belong here. */
  listStray(): Promise<string[]>;
  /** Damaged is also what is no file, or cannot be read. */
  read(name: string): Promise<JournalEntry | "gone" | "damaged">;
  remove(name: string): Promise<void>;
  /** Moves an entry or a stray file to `damaged/` for inspection. */
  setAside(name: string): Promise<void>;
}

/** About a day of a busy node's churn; more needs an administrator. */
const MAX_ENTRIES = 10_000;
/** What was set aside is for a person to look at, and must not fill the disk. */
const MAX_DAMAGED = 100;
const ENTRY = /^\d{15}-\d{6}\.json$/;
const DAMAGED = "damaged";

export const isEntryName = (name: string): boolean => ENTRY.test(name);
/** Drafts and the lock of the journal begin with a dot. */
const isStrayName = (name: string): boolean => !isEntryName(name) && name !== DAMAGED && !name.startsWith(".");

interface JournalOptions {
  now: () => Date;
  maxEntries?: number;
}

export function openJournal(dir: string, { now, maxEntries = MAX_ENTRIES }: JournalOptions): Journal {
  return {
    dir,
    async append(entry) {
      try {
        await fs.promises.mkdir(dir, { recursive: true, mode: 0o700 });
        const used = (await fs.promises.readdir(dir)).filter(isEntryName);
        if (used.length >= maxEntries) throw new Error(`it is full (${used.length} entries)`);
        // Keep the order even if the clock was set back.
        const newest = used.sort().at(-1) ?? "";
        const time = String(now().getTime()).padStart(15, "0");
        const [, stamp = time] = [newest.slice(0, 15), time].sort();
        const indexes = used.filter(name => name.startsWith(stamp)).map(name => Number(name.slice(16, 22)));
        await write(dir, stamp, Math.max(-1, ...indexes) + 1, formatEntry(entry));
      } catch (cause) {
        throw new CniError(
          CNI_CODES.tryAgain,
          `the IPAM is unreachable and the journal ${dir} accepts no entry: ${describeError(cause)}: ` +
            "restore the IPAM or free space for the journal",
          { cause },
        );
      }
    },
    isEmpty() {
      try {
        return !fs.readdirSync(dir).some(name => isEntryName(name) || isStrayName(name));
      } catch (error) {
        if (isMissing(error)) return true;
        throw unreadable(dir, error);
      }
    },
    list: async () => (await readNames(dir)).filter(isEntryName).sort(),
    listStray: async () => (await readNames(dir)).filter(isStrayName),
    async read(name) {
      const path = `${dir}/${name}`;
      try {
        // Opening a pipe would wait for its writer.
        if (!(await fs.promises.lstat(path)).isFile()) return "damaged";
        return parseEntry(await fs.promises.readFile(path, "utf8")) ?? "damaged";
      } catch (error) {
        if (isMissing(error)) return "gone";
        if (hasCode(error, "EMFILE") || hasCode(error, "ENFILE")) throw unreadable(dir, error);
        return "damaged";
      }
    },
    remove: name => fs.promises.rm(`${dir}/${name}`, { force: true }),
    setAside: name => setAside(dir, name),
  };
}

/** Links each entry under a name that no other process has used, so that two that write in the same millisecond both succeed. */
async function write(dir: string, stamp: string, firstIndex: number, text: string): Promise<void> {
  for (let index = firstIndex; ; index++) {
    try {
      await writeDurably(`${dir}/${stamp}-${String(index).padStart(6, "0")}.json`, text, { replace: false });
      return;
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
  }
}

async function readNames(dir: string): Promise<string[]> {
  try {
    return await fs.promises.readdir(dir);
  } catch (error) {
    if (isMissing(error)) return [];
    throw unreadable(dir, error);
  }
}

/** Moves a file or folder into the subfolder, under a free name. */
export async function setAside(dir: string, name: string, folder = DAMAGED): Promise<void> {
  await fs.promises.mkdir(`${dir}/${folder}`, { recursive: true, mode: 0o700 });
  const taken = new Set(await readNames(`${dir}/${folder}`));
  let target = name;
  for (let copy = 2; taken.has(target); copy++) target = `${name}.${copy}`;
  try {
    await fs.promises.rename(`${dir}/${name}`, `${dir}/${folder}/${target}`);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Removes the oldest of what was set aside, and logs a line. Never rejects. */
export async function pruneDamaged(dir: string, log: (line: string) => void, folder = DAMAGED): Promise<void> {
  const path = `${dir}/${folder}`;
  try {
    const names = await readNames(path);
    if (names.length <= MAX_DAMAGED) return;
    // A rename changes it, so that it is when the file was set aside.
    const aged = await Promise.all(
      names.map(async name => ({ name, ctimeMs: (await fs.promises.lstat(`${path}/${name}`)).ctimeMs })),
    );
    const oldest = aged
      .sort((a, b) => a.ctimeMs - b.ctimeMs || (a.name < b.name ? -1 : 1))
      .slice(0, names.length - MAX_DAMAGED);
    for (const { name } of oldest) await fs.promises.rm(`${path}/${name}`, { recursive: true, force: true });
    log(`journal ${path}: removed the oldest ${oldest.length}, keeps the newest ${MAX_DAMAGED}`);
  } catch (error) {
    log(`journal ${path}: the oldest cannot be removed: ${describeError(error)}`);
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
