import { copyFile, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import type { LoadResult } from "../load/load.ts";
import type { Databases } from "./databases.ts";
import { peerRows } from "./peer-rows.ts";

const pathOf = (database: string): string => database.slice("sqlite:".length);

/** Files in a directory of their own. */
export class SqliteDatabases implements Databases {
  readonly engine = "sqlite";
  readonly #directory: string;
  #count = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(): Promise<SqliteDatabases> {
    return new SqliteDatabases(await mkdtemp(join(tmpdir(), "mooring-bench-")));
  }

  async pids(): Promise<number[]> {
    return [];
  }

  async describe(): Promise<string[]> {
    const version = new Database(":memory:").prepare("SELECT sqlite_version()").pluck().get();
    return [
      `SQLite ${version}, journal_mode=WAL, synchronous=FULL: every answer comes after its commit is on the disk.`,
    ];
  }

  async create(): Promise<string> {
    return `sqlite:${join(this.#directory, `${++this.#count}.db`)}`;
  }

  async copy(database: string): Promise<string> {
    const copy = await this.create();
    await copyFile(pathOf(database), pathOf(copy));
    return copy;
  }

  async drop(database: string): Promise<void> {
    for (const suffix of ["", "-wal", "-shm"]) await rm(`${pathOf(database)}${suffix}`, { force: true });
  }

  async sizeOf(database: string): Promise<number> {
    return (await stat(pathOf(database))).size;
  }

  open(database: string): Promise<Store> {
    return openSqliteStore({ path: pathOf(database) });
  }

  async settle(): Promise<void> {}

  /** SQLite has one writer: connections would only wait for each other. */
  async insertRows(_connections: number, batch: number, seconds: number): Promise<LoadResult> {
    const path = join(this.#directory, `peer-${++this.#count}.db`);
    const database = new Database(path);
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.exec("CREATE TABLE peer (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, payload TEXT NOT NULL)");
    const insert = database.prepare("INSERT INTO peer VALUES (@key, @name, @payload)");
    const commit = database.transaction((first: number) => {
      for (const row of peerRows(first, batch)) insert.run(row);
    });
    const result: LoadResult = { done: 0, failed: 0, seconds: 0, latenciesMs: [], generatorBusy: 0 };
    for (const started = performance.now(); result.seconds < seconds; ) {
      const sentAt = performance.now();
      commit(result.done);
      result.latenciesMs.push(performance.now() - sentAt);
      result.done += batch;
      result.seconds = (performance.now() - started) / 1000;
    }
    database.close();
    await this.drop(`sqlite:${path}`);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}
