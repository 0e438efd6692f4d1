import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { IpamError } from "../../../contract/index.ts";
import { LOCK_SPACE } from "./catalog-lock.ts";
import { remedyOf } from "./errors.ts";
import { MIGRATIONS, type Migration } from "./migrations.ts";

const MIGRATION_LOCK = 2;
/** An export by the previous version may read for minutes. */
const RETRY_FOR_MS = 600_000;
const PAUSE_MS = 500;

/** Tables of the current schema, except those of extensions. */
const FOREIGN_TABLES = `SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
  AND relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
  ORDER BY relname LIMIT 3`;

/**
 * Creates or migrates the tables in one transaction, one replica at a time. Rejects with IpamError `unavailable` for
 * another program's database, or one migrated beyond what this program supports (`oldestProgram`). Retries after a lock
 * time-out or a deadlock, because claims wait while it waits for a table.
 */
export async function migrate(
  client: pg.Client,
  name: string,
  now: number,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<void> {
  for (const deadline = performance.now() + RETRY_FOR_MS; ; ) {
    try {
      return await migrateOnce(client, name, now, migrations);
    } catch (error) {
      if (remedyOf(error) !== "again" || performance.now() > deadline) throw error;
      await delay(PAUSE_MS * (0.5 + Math.random()));
    }
  }
}

async function migrateOnce(
  client: pg.Client,
  name: string,
  now: number,
  migrations: readonly Migration[],
): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(`SELECT pg_advisory_xact_lock(${LOCK_SPACE}, ${MIGRATION_LOCK})`);
    const newest = Math.max(...migrations.map(({ version }) => version));
    const applied = await readApplied(client, name);
    if (applied.version > newest && applied.oldestProgram > newest) {
      throw new IpamError(
        "unavailable",
        `the database ${name} has schema version ${applied.version}, which needs a program of version ${applied.oldestProgram} at least, newer than this program's ${newest}; run a mooring-ipam at least as new as the one that wrote it`,
      );
    }
    for (const migration of migrations.filter(({ version }) => version > applied.version)) {
      await client.query(migration.sql);
      await client.query("INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)", [
        migration.version,
        migration.name,
        migration.oldestProgram,
        now,
      ]);
    }
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

async function readApplied(client: pg.Client, name: string): Promise<{ version: number; oldestProgram: number }> {
  const { rows: known } = await client.query<{ there: boolean; schema: string | null }>(
    "SELECT to_regclass('schema_migrations') IS NOT NULL AS there, current_schema() AS schema",
  );
  if (known[0]?.schema == null) {
    throw new IpamError(
      "unavailable",
      `the database ${name} has no schema that this user can use (its search_path names none that is there); grant USAGE and CREATE on one`,
    );
  }
  if (!known[0].there) {
    const { rows: tables } = await client.query<{ relname: string }>(FOREIGN_TABLES);
    if (tables.length > 0) throw foreign(name, `it has tables such as ${tables.map(t => t.relname).join(", ")}`);
    await client.query(
      `CREATE TABLE schema_migrations (
         version integer PRIMARY KEY, name text NOT NULL, oldest_program integer NOT NULL, applied_at bigint NOT NULL)`,
    );
    return { version: 0, oldestProgram: 0 };
  }
  const { rows: columns } = await client.query<{ attname: string }>(
    `SELECT attname FROM pg_attribute WHERE attrelid = 'schema_migrations'::regclass AND attname = 'oldest_program'`,
  );
  if (columns.length === 0) throw foreign(name, "its table schema_migrations is not Mooring's");
  const { rows } = await client.query<{ version: number | null; oldest: number | null }>(
    "SELECT max(version) AS version, max(oldest_program) AS oldest FROM schema_migrations",
  );
  return { version: rows[0]?.version ?? 0, oldestProgram: rows[0]?.oldest ?? 0 };
}

function foreign(name: string, why: string): IpamError {
  return new IpamError(
    "unavailable",
    `the database ${name} belongs to another program (${why}); create an empty one for Mooring and name it in --database`,
  );
}
