import type Database from "better-sqlite3";
import { checkStore } from "../check/check-store.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { type EventPageRequest, readEventPage } from "../statements/event-reader.ts";
import { type PortScan, scanPorts } from "../statements/port-scan.ts";
import { copyContent } from "../transfer/copy-content.ts";

/** The reads whose cost is not that of their answer. */
const READS = {
  events: (database: Database.Database, request: EventPageRequest) =>
    atOnce(database, () => readEventPage(database, request)),
  ports: (database: Database.Database, scan: PortScan) => atOnce(database, () => scanPorts(database, scan)),
  check: (database: Database.Database, _: undefined) =>
    atOnce(database, () => checkStore(database, loadCatalog(database))),
  copy: (database: Database.Database, path: string) => copyContent(database, path),
};

type Reads = typeof READS;
export type ReadKind = keyof Reads;
export type ReadInput<K extends ReadKind> = Parameters<Reads[K]>[1];
export type ReadResult<K extends ReadKind> = ReturnType<Reads[K]>;

export function runRead<K extends ReadKind>(database: Database.Database, kind: K, input: ReadInput<K>): ReadResult<K> {
  const read = READS[kind] as (database: Database.Database, input: ReadInput<K>) => ReadResult<K>;
  return read(database, input);
}

/** Reads one state of the database. */
const atOnce = <T>(database: Database.Database, read: () => T): T => database.transaction(read)();
