import { randomUUID } from "node:crypto";
import { type FileHandle, open, readdir, rm, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import type { StoreCopy } from "../../../domain/store.ts";
import { toIpamError } from "../database/errors.ts";

/** Pages at a time, some milliseconds: commits come in between. */
const STEP_PAGES = 128;
/** What was copied goes to the disk meanwhile, so that no commit waits for all of it in the end. */
const SYNC_EVERY_PAGES = 8192;
const READ_BYTES = 256 * 1024;

const PREFIX = ".copy-";

/**
 * Copies the database beside itself while commits go on, as one file that needs no log. The copy is of the moment it is
 * finished: what is changed meanwhile is changed in it too.
 */
export async function copyDatabase(database: Database.Database): Promise<string> {
  const path = database.name;
  const copy = join(path === ":memory:" ? tmpdir() : dirname(path), `${basename(path)}${PREFIX}${randomUUID()}`);
  // Changes by this connection are taken over as they happen. Were others to write, each change would start it anew, so
  // where the lock lets a second connection in, that one pins a moment.
  const isAlone = path === ":memory:" || database.pragma("locking_mode", { simple: true }) === "exclusive";
  const source = isAlone ? database : new Database(path, { readonly: true, fileMustExist: true });
  let file: FileHandle | undefined;
  try {
    if (!isAlone) source.exec("BEGIN; SELECT 1 FROM store_state");
    file = await open(copy, "wx", 0o600);
    await source.backup(copy, { progress: startSyncing(file) });
    await file.sync();
    using made = new Closing(copy);
    made.database.pragma("journal_mode = DELETE");
    return copy;
  } catch (error) {
    await removeCopy(copy);
    throw toIpamError(error, copy);
  } finally {
    await file?.close();
    if (!isAlone) source.close();
  }
}

function startSyncing(file: FileHandle): () => number {
  let steps = 0;
  return () => {
    // A failure comes again from SQLite's own.
    if (++steps % (SYNC_EVERY_PAGES / STEP_PAGES) === 0) file.datasync().catch(() => {});
    return STEP_PAGES;
  };
}

/** The copy as a stream of bytes. Its name is gone at once: no crash leaves it behind. */
export async function openCopy(path: string): Promise<StoreCopy> {
  const file = await open(path, "r");
  await removeCopy(path);
  const { size } = await file.stat();
  return {
    size,
    read: () => file.createReadStream({ start: 0, autoClose: false, highWaterMark: READ_BYTES }),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/** The copy as a database of its own, to be read only. */
export async function openCopiedDatabase(path: string): Promise<Disposable & { database: Database.Database }> {
  const opened = new Closing(path, { readonly: true });
  // It is opened at the first read; from then on it needs no name.
  opened.database.prepare("SELECT 1 FROM store_state").get();
  await removeCopy(path);
  return opened;
}

/** Copies that a killed server did not get to forget. */
export async function removeOldCopies(path: string): Promise<void> {
  if (path === ":memory:") return;
  const names = await readdir(dirname(path));
  const old = names.filter(name => name.startsWith(`${basename(path)}${PREFIX}`));
  await Promise.all(old.map(name => unlink(join(dirname(path), name))));
}

export async function removeCopy(copy: string): Promise<void> {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) await rm(`${copy}${suffix}`, { force: true });
}

class Closing implements Disposable {
  readonly database: Database.Database;
  constructor(path: string, options: Database.Options = {}) {
    this.database = new Database(path, { fileMustExist: true, ...options });
  }
  [Symbol.dispose](): void {
    this.database.close();
  }
}
