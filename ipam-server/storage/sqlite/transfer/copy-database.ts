import { randomUUID } from "node:crypto";
import { type FileHandle, open, readdir, rm, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import type { StoreCopy } from "../../../domain/store.ts";
import { toIpamError } from "../database/errors.ts";

/** Pages copied at once, in a few milliseconds, so that commits run in between. */
const STEP_PAGES = 128;
/** Syncs the copy at this interval, so that no commit waits for the sync of the complete file. */
const SYNC_EVERY_PAGES = 8192;
const READ_BYTES = 256 * 1024;

const PREFIX = ".copy-";

/**
 * Copies the database into its own directory while commits continue, as one file without a log. The copy shows the
 * database as of the end of the copy. Resolves to its path.
 */
export async function copyDatabase(database: Database.Database): Promise<string> {
  const copy = nameCopy(database.name);
  let file: FileHandle | undefined;
  try {
    file = await open(copy, "wx", 0o600);
    // SQLite applies the changes of this connection, the only one that writes, to the copy.
    await database.backup(copy, { progress: startSyncing(file) });
    await file.sync();
    using copied = new OpenedDatabase(copy);
    copied.database.pragma("journal_mode = DELETE");
    return copy;
  } catch (error) {
    await removeCopy(copy);
    throw toIpamError(error, copy);
  } finally {
    await file?.close();
  }
}

function startSyncing(file: FileHandle): () => number {
  let steps = 0;
  return () => {
    // SQLite's own sync reports the failure again.
    if (++steps % (SYNC_EVERY_PAGES / STEP_PAGES) === 0) file.datasync().catch(() => {});
    return STEP_PAGES;
  };
}

/** A path next to the database, by which the next start finds a copy that a killed server left. */
export function nameCopy(path: string): string {
  return join(path === ":memory:" ? tmpdir() : dirname(path), `${basename(path)}${PREFIX}${randomUUID()}`);
}

/** Opens the copy as a stream of bytes, and unlinks it at once so that no crash leaves it. */
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

/** Opens the copy as a read-only database. */
export async function openCopiedDatabase(path: string): Promise<Disposable & { database: Database.Database }> {
  const opened = new OpenedDatabase(path, { readonly: true });
  // SQLite opens the file at the first read; after that it needs no name.
  opened.database.prepare("SELECT 1 FROM store_state").get();
  await removeCopy(path);
  return opened;
}

/** Removes copies that a killed server left. */
export async function removeOldCopies(path: string): Promise<void> {
  if (path === ":memory:") return;
  const names = await readdir(dirname(path));
  const old = names.filter(name => name.startsWith(`${basename(path)}${PREFIX}`));
  await Promise.all(old.map(name => unlink(join(dirname(path), name))));
}

export async function removeCopy(copy: string): Promise<void> {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) await rm(`${copy}${suffix}`, { force: true });
}

class OpenedDatabase implements Disposable {
  readonly database: Database.Database;
  constructor(path: string, options: Database.Options = {}) {
    this.database = new Database(path, { fileMustExist: true, ...options });
  }
  [Symbol.dispose](): void {
    this.database.close();
  }
}
