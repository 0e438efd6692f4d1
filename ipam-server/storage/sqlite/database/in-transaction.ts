import type Database from "better-sqlite3";

/** Commits the work, or rolls it back and throws its error. */
export function inTransaction<T>(database: Database.Database, work: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    // A full disk or a failed write may have ended the transaction already.
    if (database.inTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
