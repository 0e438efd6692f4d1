import type { Store } from "../../../ipam-server/domain/store.ts";
import type { LoadResult } from "../load/load.ts";

export const ENGINES = ["sqlite", "postgres"] as const;
export type Engine = (typeof ENGINES)[number];

/** Where the servers of a benchmark remember, as durably as in production. */
export interface Databases extends AsyncDisposable {
  readonly engine: Engine;
  /** The database's own processes, apart from the server's. */
  pids(): Promise<number[]>;
  /** Version and settings that the figures depend on. */
  describe(): Promise<string[]>;
  /** A new empty one; answers what `--database` takes. */
  create(): Promise<string>;
  /** Of a database that no process has open. */
  copy(database: string): Promise<string>;
  drop(database: string): Promise<void>;
  /** Bytes on the disk. */
  sizeOf(database: string): Promise<number>;
  /** The store that a server would have, in this process. */
  open(database: string): Promise<Store>;
  /** What was written in bulk is brought into the state it would have had if it had come over days. */
  settle(database: string): Promise<void>;
  /** The peer: as many bytes as a claim's, in rows with two indexes, by the engine alone; one commit a batch. */
  insertRows(connections: number, batch: number, seconds: number): Promise<LoadResult>;
}

/** Opens the databases of an engine; its modules load only when they are asked for. */
export async function openDatabases(engine: Engine): Promise<Databases> {
  if (engine === "sqlite") return await (await import("./sqlite-databases.ts")).SqliteDatabases.open();
  return await (await import("./postgres-databases.ts")).PostgresDatabases.open();
}
