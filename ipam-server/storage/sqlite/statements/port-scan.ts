import type Database from "better-sqlite3";
import { parseSelector } from "../../../domain/model/selector.ts";
import { MAX_SCANNED } from "../../limits.ts";
import { hasLabels } from "../../port-query.ts";
import { PORT_COLUMNS, type PortRow } from "../rows/port-rows.ts";

/** A page of ports that no index finds. */
export interface PortScan {
  conditions: string[];
  values: Record<string, unknown>;
  label?: string;
  cursor: string;
  limit: number;
}

export interface ScannedPorts {
  keys: number[];
  nextCursor?: string;
}

/** Reads MAX_SCANNED ports in order of their names, and returns the keys of those that match. */
export function scanPorts(
  database: Database.Database,
  { conditions, values, label, cursor, limit }: PortScan,
): ScannedPorts {
  const selector = label === undefined ? undefined : parseSelector(label, "label");
  const where = conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : "";
  const statement = database
    .prepare<unknown[], PortRow>(
      `SELECT ${PORT_COLUMNS.join(", ")} FROM (SELECT * FROM ports WHERE name > $cursor ORDER BY name LIMIT ${MAX_SCANNED})
         ${where} ORDER BY name`,
    )
    .raw();
  const keys: number[] = [];
  let last: string | undefined;
  for (const row of statement.iterate({ ...values, cursor })) {
    if (!hasLabels(row, selector)) continue;
    if (keys.length === limit) return { keys, ...(last !== undefined && { nextCursor: last }) };
    keys.push(row[0]);
    last = row[2];
  }
  const nextCursor = findLastScanned(database, cursor);
  return { keys, ...(nextCursor !== undefined && { nextCursor }) };
}

/** The name at which a scan reaches MAX_SCANNED rows; undefined if it reaches the end of the table. */
function findLastScanned(database: Database.Database, cursor: string): string | undefined {
  return database
    .prepare<[string], string>(`SELECT name FROM ports WHERE name > ? ORDER BY name LIMIT 1 OFFSET ${MAX_SCANNED - 1}`)
    .pluck()
    .get(cursor);
}
