import { randomUUID } from "node:crypto";
import { constants, existsSync, type Stats } from "node:fs";
import { copyFile, link, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { IpamError } from "../../../contract/index.ts";
import { formatRecovery } from "../../../domain/recovery/recovery-state.ts";
import { EPOCH_SKIP, EVENT_SKIP, KEY_SKIP, type RestoredContent } from "../../../domain/transfer/restore-offsets.ts";
import { syncPath } from "../../../process/durable-file.ts";
import { RECOVERING_HOSTS } from "../../recovering-hosts.ts";
import { checkStore } from "../check/check-store.ts";
import { toIpamError } from "../database/errors.ts";
import { openDatabase } from "../database/open-database.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";

interface RestoreOptions {
  backup: string;
  /** The database file to create. */
  path: string;
  /** Replace an existing database, which is kept under another name. */
  force: boolean;
  /** Milliseconds since the epoch. */
  now: number;
}

export interface Restored extends RestoredContent {
  /** The path of the replaced database. */
  replaced?: string;
}

/**
 * Installs a backup as the database of a stopped server. Changes no existing file before the last step. Rejects with
 * `invalid_request` for a bad backup, `conflict` for an obstacle at the target, `unavailable` otherwise.
 */
export async function restoreDatabase({ backup, path, force, now }: RestoreOptions): Promise<Restored> {
  const target = existsSync(path) ? await realpath(path) : path;
  await assertGoodBackup(backup);
  await assertGoodTarget(target, backup, force);
  const draft = `${target}.restore-${randomUUID()}`;
  try {
    await copyFile(backup, draft, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    // The file of a server that was killed has its newest changes in its log.
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

/** Checks the file's header before anything is copied. */
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
    const advice = "stop its server and add --force to replace it (the old file is kept under another name)";
    throw new IpamError("conflict", `${inTheWay} is there already; ${advice}, or name another file`);
  }
}

/** Checks and migrates the copy, and raises its counters above everything assigned since the backup. */
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
    startRecovery(database);
    // Moves the log into the file, and deletes it.
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

/** The servers assign nothing new until what is plugged on these hosts is claimed again. */
function startRecovery(database: Database.Database): void {
  const hosts = database.prepare<[], { cluster: string | null; host: string }>(RECOVERING_HOSTS).all();
  database.prepare("UPDATE store_state SET recovery = ?").run(formatRecovery(hosts));
}

function raiseFloors(database: Database.Database): Pick<RestoredContent, "minimumEpoch" | "minimumSeq"> {
  // Others may have had the addresses since, so that no release is on record.
  database.exec("UPDATE freed SET released = 0; UPDATE ports SET fenced = 0");
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

/** @returns the path of the replaced database */
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
  // SQLite would read a remaining log as the new file's.
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

/** Locks the old database and empties its log. Skips one that is too damaged to open. */
function lockFormer(target: string, draft: string): Disposable {
  const nothing = { [Symbol.dispose]() {} };
  if (!existsSync(target)) return nothing;
  let former: OpenedDatabase | undefined;
  try {
    former = new OpenedDatabase(target);
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

/** Throws `conflict` for another program's database, even with --force. */
function assertOwnDatabase(database: Database.Database, draft: string): void {
  using ours = new OpenedDatabase(draft);
  const idOf = (of: Database.Database) => of.pragma("application_id", { simple: true });
  const tables = database.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
  if (tables === 0 || idOf(database) === idOf(ours.database)) return;
  throw new IpamError("conflict", `${database.name} belongs to another program; name another file`);
}

async function statOf(path: string): Promise<Stats | undefined> {
  return stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new IpamError("unavailable", `cannot read ${path}: ${error.message}`, { cause: error });
  });
}

class OpenedDatabase implements Disposable {
  readonly database: Database.Database;
  constructor(path: string) {
    this.database = new Database(path, { fileMustExist: true, timeout: 1000 });
  }
  [Symbol.dispose](): void {
    this.database.close();
  }
}
