import { statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type Database from "better-sqlite3";
import type { StorageUsage } from "../../../domain/store.ts";

/** What the file, its log and the history use of the volume. */
export function readDiskUsage(database: Database.Database): StorageUsage {
  const [events, oldest] = database
    .prepare<[], [number, number | null]>(
      "SELECT event_bytes, (SELECT time FROM events ORDER BY seq LIMIT 1) FROM store_state",
    )
    .raw()
    .get() ?? [0, null];
  return {
    database:
      Number(database.pragma("page_count", { simple: true })) * Number(database.pragma("page_size", { simple: true })),
    events,
    ...(oldest !== null && { oldestEventTime: oldest }),
    log: statSync(`${database.name}-wal`, { throwIfNoEntry: false })?.size ?? 0,
    ...(!database.memory && { free: readVolume(database.name).free }),
  };
}

/** Bytes of the file system that holds the database's directory: all, and what is free for this user. */
export function readVolume(path: string): { size: number; free: number } {
  const { blocks, bavail, bsize } = statfsSync(dirname(path));
  return { size: blocks * bsize, free: bavail * bsize };
}

/** A third of the volume, so that a copy of the database, for a backup, and its log fit too. */
export function defaultEventBytes(path: string): number {
  if (path === ":memory:") return Number.POSITIVE_INFINITY;
  return Math.floor(readVolume(path).size / 3);
}
