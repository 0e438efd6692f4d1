import pg from "pg";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { PrivatePostgres } from "../../store/support/private-postgres.ts";
import type { LoadResult } from "../load/load.ts";
import { familyOf } from "../process-usage.ts";
import type { Databases } from "./databases.ts";
import { type PeerRow, peerRows } from "./peer-rows.ts";

/** Memory and log sized for a database of a million ports; the settings of durability are the defaults. */
const SETTINGS = { shared_buffers: "512MB", max_wal_size: "4GB", log_min_messages: "error" };
const SHOWN = [
  "fsync",
  "synchronous_commit",
  "full_page_writes",
  "wal_sync_method",
  "autovacuum",
  ...Object.keys(SETTINGS).filter(name => name !== "log_min_messages"),
];

/** A PostgreSQL server of the benchmark's own, on this machine and its disk. */
export class PostgresDatabases implements Databases {
  readonly engine = "postgres";
  readonly #server: PrivatePostgres;
  #copies = 0;

  private constructor(server: PrivatePostgres) {
    this.#server = server;
  }

  static async open(): Promise<PostgresDatabases> {
    return new PostgresDatabases(await PrivatePostgres.start({ fsync: true, settings: SETTINGS }));
  }

  pids(): Promise<number[]> {
    return familyOf(this.#server.pid);
  }

  async describe(): Promise<string[]> {
    const names = SHOWN.map(name => `'${name}'`).join(", ");
    const rows = await this.#server.query<{ name: string; value: string }>(
      `SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN (${names}) ORDER BY name`,
    );
    const [version] = await this.#server.query<{ server_version: string }>("SHOW server_version");
    const settings = rows.map(({ name, value }) => `${name}=${value}`).join(", ");
    return [
      `PostgreSQL ${version?.server_version} on the same machine and disk: ${settings}; other settings are its own.`,
    ];
  }

  create(): Promise<string> {
    return this.#server.createDatabase();
  }

  async copy(database: string): Promise<string> {
    const name = `copy_${++this.#copies}`;
    const from = new URL(database).pathname.slice(1);
    await this.#server.query(`CREATE DATABASE ${name} TEMPLATE ${from} STRATEGY FILE_COPY`);
    return this.#server.urlOf(name);
  }

  drop(database: string): Promise<void> {
    return this.#server.dropDatabase(database);
  }

  async sizeOf(database: string): Promise<number> {
    const [row] = await this.#server.query<{ size: string }>(
      "SELECT pg_database_size(current_database()) AS size",
      database,
    );
    return Number(row?.size);
  }

  open(database: string): Promise<Store> {
    return openPostgresStore({ url: database });
  }

  async settle(database: string): Promise<void> {
    await this.#server.query("VACUUM (ANALYZE)", database);
    await this.#server.query("CHECKPOINT", database);
  }

  async insertRows(connections: number, batch: number, seconds: number): Promise<LoadResult> {
    const database = await this.create();
    await this.#server.query(
      'CREATE TABLE peer (key bigint PRIMARY KEY, name text COLLATE "C" UNIQUE, payload text)',
      database,
    );
    const result: LoadResult = { done: 0, failed: 0, seconds: 0, latenciesMs: [], generatorBusy: 0 };
    const started = performance.now();
    let next = 0;
    const insert = async () => {
      const client = new pg.Client({ connectionString: database });
      await client.connect();
      while (performance.now() - started < seconds * 1000) {
        const rows = peerRows(next, batch);
        next += batch;
        const sentAt = performance.now();
        await client.query(insertOf(rows));
        result.latenciesMs.push(performance.now() - sentAt);
        result.done += batch;
      }
      await client.end();
    };
    await Promise.all(Array.from({ length: connections }, insert));
    result.seconds = (performance.now() - started) / 1000;
    await this.drop(database);
    return result;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

/** One statement is one transaction. */
function insertOf(rows: readonly PeerRow[]) {
  return {
    name: "insert",
    text: "INSERT INTO peer SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])",
    values: [rows.map(({ key }) => key), rows.map(({ name }) => name), rows.map(({ payload }) => payload)],
  };
}
