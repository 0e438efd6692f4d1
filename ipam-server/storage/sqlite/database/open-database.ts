import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { IpamError } from "../../../contract/index.ts";
import { toIpamError } from "./errors.ts";
import { MIGRATIONS } from "./migrations.ts";

/** "Moor" in ASCII: tells Mooring's databases from other programs'. */
const APPLICATION_ID = 0x4d_6f_6f_72;
const BUSY_TIMEOUT_MS = 1000;
/** Bounds the server's memory; what does not fit is in the operating system's cache. */
const CACHE_KIB = 98_304;
/**
 * 512 MiB of log before it is copied into the database. Names and sandboxes come in no order, so with a million ports each
 * claim changes two pages that few others change, and the disk takes longest over scattered pages; in a log this long
 * nearly every page meets several claims, and is copied once for all of them. A commit waits for the copying, which
 * therefore is also done in between, see `CHECKPOINT_EVERY_MS`.
 */
const CHECKPOINT_PAGES = 131_072;
/** On a store that is not under full load this keeps the log, and the wait for its copying, short. */
const CHECKPOINT_EVERY_MS = 60_000;

/** Opens the file for this process alone, makes or migrates its tables, and proves that it can be written. */
export function openDatabase(path: string, now: number): Database.Database {
  assertDirectory(path);
  let database: Database.Database | undefined;
  try {
    database = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    database.pragma("locking_mode = EXCLUSIVE");
    assertOurs(database, path);
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
    database.pragma(`cache_size = -${CACHE_KIB}`);
    database.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    database.pragma("temp_store = MEMORY");
    migrate(database, path, now);
    // It grows from one opening to the next, whatever the clock says.
    database.prepare("UPDATE store_state SET opened_at = max(opened_at + 1, ?)").run(now);
    keepLogShort(database);
    return database;
  } catch (error) {
    database?.close();
    throw toIpamError(error, path);
  }
}

/** Ends with the database. */
function keepLogShort(database: Database.Database): void {
  const timer = setInterval(() => {
    if (!database.open) return clearInterval(timer);
    try {
      database.pragma("wal_checkpoint(PASSIVE)");
    } catch {
      // In the middle of a transaction or a read it comes next time; of a failing disk the next commit speaks.
    }
  }, CHECKPOINT_EVERY_MS).unref();
}

function assertDirectory(path: string): void {
  if (path === ":memory:") return;
  const directory = dirname(path);
  if (!existsSync(directory)) {
    throw new IpamError(
      "unavailable",
      `the database ${path} cannot be made: there is no directory ${directory}; make it first`,
    );
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new IpamError(
      "unavailable",
      `the database ${path} is a directory; name a file in it, such as ${path}/ipam.db`,
    );
  }
}

function assertOurs(database: Database.Database, path: string): void {
  const id = database.pragma("application_id", { simple: true });
  if (id === APPLICATION_ID) return;
  const tables = database.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
  if (id !== 0 || tables !== 0) {
    throw new IpamError(
      "unavailable",
      `the database ${path} belongs to another program; name another file (a new one is made if there is none)`,
    );
  }
}

function migrate(database: Database.Database, path: string, now: number): void {
  database
    .transaction(() => {
      database.pragma(`application_id = ${APPLICATION_ID}`);
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
      const remember = database.prepare("INSERT INTO schema_migrations VALUES (?, ?, ?)");
      for (const { version, name, sql } of MIGRATIONS) {
        if (version <= applied) continue;
        database.exec(sql);
        remember.run(version, name, now);
      }
    })
    .immediate();
}
