import { writeFileSync } from "node:fs";
import type Database from "better-sqlite3";

/** An export has no history, which may be many times as large as everything else. */
const HISTORY = ["events", "event_identities"];

/**
 * Copies everything except the history into a new file, as of one moment. The copy continues the numbers of the events.
 * Without a log or a sync, because a copy that a crash interrupts is removed.
 */
export function copyContent(database: Database.Database, copy: string): void {
  writeFileSync(copy, "", { flag: "wx", mode: 0o600 });
  database.prepare("ATTACH ? AS copied").run(copy);
  try {
    database.pragma("copied.journal_mode = OFF");
    database.pragma("copied.synchronous = OFF");
    database.transaction(() => fill(database))();
  } finally {
    database.exec("DETACH copied");
  }
}

function fill(database: Database.Database): void {
  const parts = database
    .prepare<[], { type: string; name: string; of: string; sql: string }>(
      `SELECT type, name, tbl_name AS "of", sql FROM main.sqlite_schema
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid`,
    )
    .all();
  const tables = parts.filter(({ type }) => type === "table");
  for (const { sql } of tables) database.exec(sql.replace(/^CREATE TABLE /, "CREATE TABLE copied."));
  for (const { name } of tables) {
    if (!HISTORY.includes(name)) database.exec(`INSERT INTO copied."${name}" SELECT * FROM main."${name}"`);
  }
  for (const { type, of, sql } of parts) {
    if (type === "index" && !HISTORY.includes(of)) database.exec(sql.replace(/ INDEX /, " INDEX copied."));
  }
  database.exec(
    "UPDATE copied.store_state SET event_floor = max(event_floor, coalesce((SELECT max(seq) FROM main.events), 0))",
  );
}
