import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { IpamError } from "../../../contract/index.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { NetworkWriter } from "../statements/network-writer.ts";
import { DatabaseLock } from "./database-lock.ts";
import { isDiskFull, toIpamError } from "./errors.ts";
import { inTransaction } from "./in-transaction.ts";
import { MIGRATIONS } from "./migrations.ts";

/** "Moor" in ASCII, which identifies Mooring's databases. */
const APPLICATION_ID = 0x4d_6f_6f_72;
const BUSY_TIMEOUT_MS = 1000;
/** Bounds the server's memory; the operating system caches the rest. */
const CACHE_KIB = 98_304;
/**
 * A checkpoint after 512 MiB of log. With a million ports each claim changes two scattered pages; in a log this long
 * nearly every page has several changes, and is copied once. A commit waits for the checkpoint, so
 * `CHECKPOINT_EVERY_MS` adds checkpoints in between.
 */
const CHECKPOINT_PAGES = 131_072;
/** Keeps the log, and so the wait for a checkpoint, short on a store that is not under full load. */
const CHECKPOINT_EVERY_MS = 60_000;

/** As `openDatabase`, for a server: other threads of this process may read the file, no other process may open it. */
export function openShared(path: string, now: number): { database: Database.Database; lock: Disposable } {
  assertDirectory(path);
  let lock: Disposable | undefined;
  try {
    lock = new DatabaseLock(path);
    return { database: openWithoutSpace(path, now), lock };
  } catch (error) {
    lock?.[Symbol.dispose]();
    throw toIpamError(error, path);
  }
}

/**
 * A full disk has no space for the index of the log that threads share. One connection needs none: it serves reads, and
 * changes as soon as there is space.
 */
function openWithoutSpace(path: string, now: number): Database.Database {
  try {
    return openDatabase(path, now, "NORMAL");
  } catch (error) {
    if (!(error instanceof Error) || !isDiskFull(error.cause)) throw error;
    return openDatabase(path, now);
  }
}

/** Opens the file exclusively, creates or migrates its tables, and writes to it. Throws IpamError. */
export function openDatabase(
  path: string,
  now: number,
  locking: "EXCLUSIVE" | "NORMAL" = "EXCLUSIVE",
): Database.Database {
  assertDirectory(path);
  let database: Database.Database | undefined;
  try {
    database = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    database.pragma(`locking_mode = ${locking}`);
    assertOwnDatabase(database, path);
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
    database.pragma(`cache_size = -${CACHE_KIB}`);
    database.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    database.pragma("temp_store = MEMORY");
    migrate(database, path, now);
    updatePools(database);
    // Grows with every start, even if the clock went back.
    recordStart(database, now);
    scheduleCheckpoints(database);
    return database;
  } catch (error) {
    database?.close();
    throw toIpamError(error, path);
  }
}

/** A full disk does not keep the server from reading; its first change fails, and readiness names the disk. */
function recordStart(database: Database.Database, now: number): void {
  try {
    database.prepare("UPDATE store_state SET opened_at = max(opened_at + 1, ?)").run(now);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

/** Stops when the database is closed. */
function scheduleCheckpoints(database: Database.Database): void {
  const timer = setInterval(() => {
    if (!database.open) return clearInterval(timer);
    try {
      database.pragma("wal_checkpoint(PASSIVE)");
    } catch {
      // A busy database is checkpointed next time; the next commit reports a failing disk.
    }
  }, CHECKPOINT_EVERY_MS).unref();
}

function assertDirectory(path: string): void {
  if (path === ":memory:") return;
  const directory = dirname(path);
  if (!existsSync(directory)) {
    throw new IpamError(
      "unavailable",
      `the database ${path} cannot be created: there is no directory ${directory}; create it first`,
    );
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new IpamError(
      "unavailable",
      `the database ${path} is a directory; name a file in it, such as ${path}/ipam.db`,
    );
  }
}

function assertOwnDatabase(database: Database.Database, path: string): void {
  const id = database.pragma("application_id", { simple: true });
  if (id === APPLICATION_ID) return;
  const tables = database.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
  if (id !== 0 || tables !== 0) {
    throw new IpamError(
      "unavailable",
      `the database ${path} belongs to another program; name another file (it is created if it does not exist)`,
    );
  }
}

function updatePools(database: Database.Database): void {
  inTransaction(database, () => new NetworkWriter(database).updatePools(loadCatalog(database)));
}

function migrate(database: Database.Database, path: string, now: number): void {
  database
    .transaction(() => {
      // Setting it writes to the file, even to the same value.
      if (database.pragma("application_id", { simple: true }) !== APPLICATION_ID) {
        database.pragma(`application_id = ${APPLICATION_ID}`);
      }
      database.exec(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT",
      );
      const applied = Number(database.prepare("SELECT max(version) FROM schema_migrations").pluck().get() ?? 0);
      const newest = Math.max(...MIGRATIONS.map(({ version }) => version));
      if (applied > newest) {
        throw new IpamError(
          "unavailable",
          `the database ${path} has schema version ${applied}, newer than this program's ${newest}; run a mooring-ipam at least as new as the one that wrote it`,
        );
      }
      const record = database.prepare("INSERT INTO schema_migrations VALUES (?, ?, ?)");
      for (const { version, name, sql } of MIGRATIONS) {
        if (version <= applied) continue;
        database.exec(sql);
        record.run(version, name, now);
      }
    })
    .immediate();
}
