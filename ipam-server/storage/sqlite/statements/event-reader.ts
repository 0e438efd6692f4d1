import type Database from "better-sqlite3";
import type { EventList, EventQuery } from "../../../contract/index.ts";
import { canonicalAddress } from "../../../domain/model/address.ts";
import {
  addressIdentity,
  EVENT_COLUMNS,
  type EventRow,
  findIdentity,
  isIndexed,
  toEventList,
} from "../../event-rows.ts";
import { MAX_SCANNED_EVENTS, pageSize } from "../../limits.ts";
import { encodeMac } from "../../port-rows.ts";

export interface EventPageRequest {
  query: EventQuery;
  /** The keys of the ports that have the queried name, address or MAC now. */
  livePorts: readonly number[];
}

/** The caller holds a transaction, or the only connection. */
export function readEventPage(database: Database.Database, { query, livePorts }: EventPageRequest): EventList {
  const { after = 0, host, type, port, ip, mac } = query;
  const limit = pageSize(query.limit);
  const extent = readExtent(database);
  const scannedUpTo = isIndexed(query) ? extent.lastSeq : findScanEnd(database, after);
  const conditions = ["seq > $after", "seq <= $upTo"];
  const values: Record<string, unknown> = { after, limit, upTo: scannedUpTo };
  const add = (condition: string, more: Record<string, unknown>) => {
    conditions.push(condition);
    Object.assign(values, more);
  };
  if (host !== undefined) add("(host = $host OR from_host = $host)", { host });
  if (type !== undefined) add("type IN (SELECT value FROM json_each($types))", { types: JSON.stringify(type) });
  const identity = findIdentity(query);
  if (identity !== undefined) {
    add(
      `port_key IN (SELECT port_key FROM event_identities WHERE value = $identity
         UNION SELECT value FROM json_each($livePorts))`,
      { identity, livePorts: JSON.stringify(livePorts) },
    );
  }
  if (port !== undefined) add("port = $port", { port });
  if (mac !== undefined) add("mac = $mac", { mac: encodeMac(mac) });
  if (ip !== undefined) {
    const address = canonicalAddress(ip) ?? ip;
    add("(',' || addresses || ',' LIKE $address OR ',' || identities || ',' LIKE $former)", {
      address: `%,${address},%`,
      former: `%,${addressIdentity(address)},%`,
    });
  }
  const columns = EVENT_COLUMNS.join(", ");
  const where = conditions.join(" AND ");
  const rows = database
    .prepare<unknown[], EventRow>(`SELECT ${columns} FROM events WHERE ${where} ORDER BY seq LIMIT $limit`)
    .raw()
    .all(values);
  return toEventList(rows, { limit, scannedUpTo, ...extent });
}

/** Events up to the floor precede a restore or an import: readers cannot resume from them. */
export function readExtent(database: Database.Database): Pick<EventList, "lastSeq" | "oldestSeq"> {
  const { first, last, floor } = database
    .prepare<[], { first: number | null; last: number | null; floor: number }>(
      `SELECT (SELECT min(seq) FROM events) AS first, (SELECT max(seq) FROM events) AS last, event_floor AS floor
         FROM store_state`,
    )
    .get() ?? { first: null, last: null, floor: 0 };
  const lastSeq = Math.max(last ?? 0, floor);
  return { lastSeq, oldestSeq: Math.max(first ?? lastSeq + 1, floor + 1) };
}

/** The span begins at an event that exists, because numbers skip far ahead after a restore. */
function findScanEnd(database: Database.Database, after: number): number {
  const first = database
    .prepare<[number], number | null>("SELECT min(seq) FROM events WHERE seq > ?")
    .pluck()
    .get(after);
  return (first ?? after) + MAX_SCANNED_EVENTS - 1;
}
