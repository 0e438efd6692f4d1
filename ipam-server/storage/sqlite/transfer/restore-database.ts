import { randomUUID } from "node:crypto";
import { constants, existsSync, type Stats } from "node:fs";
import { copyFile, link, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { IpamError } from "../../../contract/index.ts";
import { EPOCH_SKIP, EVENT_SKIP, KEY_SKIP, type RestoredContent } from "../../../domain/transfer/restore-offsets.ts";
import { syncPath } from "../../../process/durable-file.ts";
import { checkStore } from "../check/check-store.ts";
import { toIpamError } from "../database/errors.ts";
import { openDatabase } from "../database/open-database.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";

export interface RestoreOptions {
  backup: string;
  /** The database file to be. */
  path: string;
  /** Replace a database that is there; it is kept beside. */
  force: boolean;
  /** Milliseconds since the epoch. */
  now: number;
}

export interface Restored extends RestoredContent {
  /** Where the database that was there is now. */
  replaced?: string;
}

/**
 * Puts a backup in the place of a database that no server has open. Until the last step nothing that was there changes.
 * `invalid_request` for what is no good backup, `conflict` for what is there already, `unavailable` for the rest.
 */
export async function restoreDatabase({ backup, path, force, now }: RestoreOptions): Promise<Restored> {
  const target = existsSync(path) ? await realpath(path) : path;
  await assertGoodBackup(backup);
  await assertGoodTarget(target, backup, force);
  const draft = `${target}.restore-${randomUUID()}`;
  try {
    await copyFile(backup, draft, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    // A server's own file, copied while it was stopped in a hurry, has its newest changes here.
    if (existsSync(`${backup}-wal`)) await copyFile(`${backup}-wal`, `${draft}-wal`, constants.COPYFILE_EXCL);
    const restored = prepareDraft(draft, backup, now);
    await syncPath(draft);
    const replaced = await putInPlace(draft, target, force, now);
    await syncPath(dirname(target));
    return { ...restored, ...(replaced !== undefined && { replaced }) };
  } catch (error) {
    throw toIpamError(error, target);
  } finally {
    for (const suffix of ["", "-wal", "-shm", "-journal"]) await rm(`${draft}${suffix}`, { force: true });
  }
}

/** Before anything is copied: what it is, by its head. */
async function assertGoodBackup(backup: string): Promise<void> {
  const found = await statOf(backup);
  if (!found?.isFile()) {
    throw new IpamError("invalid_request", `${backup} is ${found ? "not a file" : "not there"}; name a backup`);
  }
  const head = Buffer.alloc(16);
  await using file = await open(backup, "r");
  await file.read(head, 0, head.length, 0);
  if (head.toString("latin1") !== "SQLite format 3\0") {
    throw new IpamError("invalid_request", `${backup} is no backup of Mooring: it is not an SQLite database`);
  }
}

async function assertGoodTarget(target: string, backup: string, force: boolean): Promise<void> {
  const directory = dirname(target);
  if (!(await statOf(directory))?.isDirectory()) {
    throw new IpamError("unavailable", `there is no directory ${directory}; make it first`);
  }
  const found = await statOf(target);
  if (found && !found.isFile()) throw new IpamError("conflict", `${target} is not a file; name the database's file`);
  if (found && found.ino === (await statOf(backup))?.ino && found.dev === (await statOf(backup))?.dev) {
    throw new IpamError("conflict", `${backup} is the database itself; name a backup of it`);
  }
  if (force) return;
  const inTheWay = found ? target : existsSync(`${target}-wal`) ? `${target}-wal` : undefined;
  if (inTheWay !== undefined) {
    const advice = "stop its server and add --force to replace it (it is kept beside the new one)";
    throw new IpamError("conflict", `${inTheWay} is there already; ${advice}, or name another file`);
  }
}

/** Checks and migrates the copy, and puts its counters ahead of all that was given out since. */
function prepareDraft(draft: string, backup: string, now: number): RestoredContent {
  let database: Database.Database | undefined;
  try {
    database = openDatabase(draft, now);
    const [finding] = checkStore(database, loadCatalog(database));
    if (finding)
      throw new IpamError("invalid_request", `the database ${draft} is damaged: ${finding.what}: ${finding.where}`);
    const count = (what: string) => database?.prepare<[], number>(`SELECT count(*) FROM ${what}`).pluck().get() ?? 0;
    const newestChange = database
      .prepare<[], number>("SELECT time FROM events ORDER BY seq DESC LIMIT 1")
      .pluck()
      .get();
    const restored = {
      ...(newestChange !== undefined && { newestChange }),
      networks: count("networks"),
      ports: count("ports"),
      bound: count("ports WHERE host IS NOT NULL"),
      ...raiseFloors(database),
    };
    // The log goes into the file, and away.
    database.pragma("journal_mode = DELETE");
    return restored;
  } catch (error) {
    const { message } = toIpamError(error, draft);
    const detail = message.replaceAll(`the database ${draft}`, `the backup ${backup}`);
    throw new IpamError("invalid_request", detail, { cause: error });
  } finally {
    database?.close();
  }
}

function raiseFloors(database: Database.Database): Pick<RestoredContent, "minimumEpoch" | "minimumSeq"> {
  const floors = database
    .prepare<[], Pick<RestoredContent, "minimumEpoch" | "minimumSeq">>(
      `UPDATE store_state SET
         epoch_floor = max(epoch_floor, coalesce((SELECT max(epoch) FROM ports), 0)) + ${EPOCH_SKIP},
         event_floor = max(event_floor, coalesce((SELECT max(seq) FROM events), 0)) + ${EVENT_SKIP},
         next_port_key = next_port_key + ${KEY_SKIP}
       RETURNING epoch_floor AS minimumEpoch, event_floor AS minimumSeq`,
    )
    .get();
  if (!floors) throw new Error("the database has no state row");
  return floors;
}

/** @returns where the former database is kept. */
async function putInPlace(draft: string, target: string, force: boolean, now: number): Promise<string | undefined> {
  if (!force) {
    await link(draft, target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
      throw new IpamError("conflict", `${target} was made meanwhile; stop its server`);
    });
    return undefined;
  }
  using _lock = lockFormer(target, draft);
  const kept = `${target}.replaced-${new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, "")}`;
  // A log that is left beside would be taken for the new file's.
  for (const suffix of ["-wal", "-shm", "-journal"]) {
    if (existsSync(`${target}${suffix}`)) await rename(`${target}${suffix}`, `${kept}${suffix}`);
  }
  if (!existsSync(target)) {
    await rename(draft, target);
    return undefined;
  }
  await link(target, kept);
  await rename(draft, target);
  return kept;
}

/** Keeps servers out of the former database, and empties its log. One that is too damaged to be opened is let go. */
function lockFormer(target: string, draft: string): Disposable {
  const nothing = { [Symbol.dispose]() {} };
  if (!existsSync(target)) return nothing;
  let former: Closing | undefined;
  try {
    former = new Closing(target);
    former.database.pragma("locking_mode = EXCLUSIVE");
    assertOwnDatabase(former.database, draft);
    former.database.pragma("journal_mode = DELETE");
    former.database.exec("BEGIN EXCLUSIVE");
    return former;
  } catch (error) {
    former?.[Symbol.dispose]();
    if (!(error instanceof Database.SqliteError)) throw error;
    if (/^SQLITE_(NOTADB|CORRUPT)/.test(error.code)) return nothing;
    if (!/^SQLITE_(BUSY|LOCKED)/.test(error.code)) throw error;
    throw new IpamError("conflict", `a server has ${target} open; stop it first`, { cause: error });
  }
}

/** Not even on demand is another program's database replaced. */
function assertOwnDatabase(database: Database.Database, draft: string): void {
  using ours = new Closing(draft);
  const idOf = (of: Database.Database) => of.pragma("application_id", { simple: true });
  const tables = database.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
  if (tables === 0 || idOf(database) === idOf(ours.database)) return;
  throw new IpamError("conflict", `${database.name} belongs to another program; name another file`);
}

async function statOf(path: string): Promise<Stats | undefined> {
  return stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new IpamError("unavailable", `cannot look at ${path}: ${error.message}`, { cause: error });
  });
}

class Closing implements Disposable {
  readonly database: Database.Database;
  constructor(path: string) {
    this.database = new Database(path, { fileMustExist: true, timeout: 1000 });
  }
  [Symbol.dispose](): void {
    this.database.close();
  }
}
