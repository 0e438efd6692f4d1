import { OvsdbProtocolError } from "./codec.ts";

/** A row off the wire; the read functions below check each column. */
export type Row = { [column: string]: unknown };

export type Uuid = string;

/** Notation of RFC 7047 §5.1. */
export function encodeUuid(uuid: Uuid): ["uuid", string] {
  return ["uuid", uuid];
}

export function encodeMap(entries: Record<string, string>): ["map", [string, string][]] {
  return ["map", Object.entries(entries)];
}

export function readUuid(row: Row, column = "_uuid"): Uuid {
  const value = row[column];
  if (isPair(value, "uuid") && typeof value[1] === "string") return value[1];
  throw unexpected(column, "a UUID", value);
}

export function readText(row: Row, column: string): string {
  const [value] = readSet(row, column);
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  throw unexpected(column, "a string", value);
}

export function readInteger(row: Row, column: string): number | undefined {
  const [value] = readSet(row, column);
  if (value === undefined || Number.isInteger(value)) return value as number | undefined;
  throw unexpected(column, "an integer", value);
}

export function readIntegers(row: Row, column: string): number[] {
  return readSet(row, column).map(value => readInteger({ [column]: value }, column) as number);
}

export function readUuids(row: Row, column: string): Uuid[] {
  return readSet(row, column).map(value => readUuid({ [column]: value }, column));
}

export function readMap(row: Row, column: string): Record<string, string> {
  const value = row[column];
  if (!isPair(value, "map") || !Array.isArray(value[1])) throw unexpected(column, "a map", value);
  const entries = value[1].map(pair => {
    if (Array.isArray(pair) && typeof pair[0] === "string" && typeof pair[1] === "string")
      return [pair[0], pair[1]] as const;
    throw unexpected(column, "a map of strings", value);
  });
  return Object.fromEntries(entries);
}

/** OVSDB sends a set of one as its element; monitors omit columns with default values. */
function readSet(row: Row, column: string): unknown[] {
  const value = row[column];
  if (value === undefined) return [];
  if (!isPair(value, "set")) return [value];
  if (Array.isArray(value[1])) return value[1];
  throw unexpected(column, "a set", value);
}

function isPair(value: unknown, tag: string): value is [string, unknown] {
  return Array.isArray(value) && value.length === 2 && value[0] === tag;
}

function unexpected(column: string, wanted: string, found: unknown): OvsdbProtocolError {
  return new OvsdbProtocolError(`column ${column} should be ${wanted}, but is ${JSON.stringify(found)}`);
}
