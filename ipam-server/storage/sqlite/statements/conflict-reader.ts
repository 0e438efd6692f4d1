import type Database from "better-sqlite3";
import type { Conflict } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import { decodeConflicts, FREED_STATE_COLUMNS, type PlacedFreedRow } from "../../freed-rows.ts";
import { MAX_CONFLICTS } from "../../limits.ts";

/** Lists the addresses that other machines answer for. */
export function readConflicts(database: Database.Database, catalog: Catalog): Conflict[] {
  const rows = database
    .prepare<[], PlacedFreedRow>(
      `SELECT subnet_id, CAST(offset AS TEXT), ${FREED_STATE_COLUMNS} FROM freed
       WHERE conflict_mac IS NOT NULL ORDER BY subnet_id, offset LIMIT ${MAX_CONFLICTS}`,
    )
    .raw();
  return decodeConflicts(rows.all(), catalog);
}
