import type { Store } from "../../../ipam-server/domain/store.ts";

export interface EngineOptions {
  reuseDelayMs: number;
  clock: () => number;
  fabricManaged?: boolean;
  eventRetentionMs?: number;
  eventBytes?: number;
}

/** One database of an engine under test, that outlives the stores opened on it. */
export interface TestDatabase extends AsyncDisposable {
  open(options: EngineOptions): Promise<Store>;
  /** The next transaction that comes to this step fails there, once; the steps are the engine's own, see `steps`. */
  failAt(step: string | undefined): void;
  /** Runs a statement of SQL past the store, which is closed. */
  execute(sql: string): Promise<void>;
  /** Backs the database up while no store is open on it. The function it returns restores it, likewise. */
  backUp(): Promise<(now: number) => Promise<void>>;
  /** Continues with the state that a crash at this moment would leave. */
  crash(): Promise<void>;
}

/** The seam for PostgreSQL: the suite runs over every engine. */
export interface Engine {
  name: string;
  steps: readonly string[];
  createDatabase(): Promise<TestDatabase>;
}
