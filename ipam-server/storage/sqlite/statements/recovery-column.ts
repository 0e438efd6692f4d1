import type Database from "better-sqlite3";
import { parseRecovery, type RecoveryState } from "../../../domain/recovery/recovery-state.ts";

export function readRecovery(database: Database.Database): RecoveryState | undefined {
  return parseRecovery(database.prepare<[], string | null>("SELECT recovery FROM store_state").pluck().get());
}

export function writeRecovery(database: Database.Database, state: RecoveryState | undefined): void {
  database.prepare("UPDATE store_state SET recovery = ?").run(state ? JSON.stringify(state) : null);
}
