import type { EventList, EventQuery } from "../../../contract/index.ts";
import { canonicalAddress } from "../../../domain/model/address.ts";
import { addressIdentity, type EventRow, findIdentity, isIndexed, toEventList } from "../../event-rows.ts";
import { MAX_SCANNED_EVENTS, pageSize } from "../../limits.ts";
import { encodeMac } from "../../port-rows.ts";
import { type Element, toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";
import { EVENT_COLUMNS } from "../rows/event-rows.ts";

/** A scan begins at an event that exists, because numbers skip far ahead after a restore. $1: the number before it. */
const FIRST_AFTER = "SELECT seq FROM events WHERE seq > $1::bigint ORDER BY seq LIMIT 1";
/** Events up to the floor precede a restore or an import: readers cannot resume from them. */
const EXTENT = prepare(
  `SELECT last_seq, greatest(coalesce((SELECT seq FROM events ORDER BY seq LIMIT 1), last_seq + 1), floor + 1),
     (${FIRST_AFTER})
   FROM event_counter`,
);

/**
 * In a transaction that sees one state.
 * @param livePorts the keys of the ports that have the queried name, address or MAC now
 */
export async function readEvents(send: Send, query: EventQuery, livePorts: readonly number[]): Promise<EventList> {
  const { after = 0, host, type, port, ip, mac } = query;
  const limit = pageSize(query.limit);
  const values: Element[] = [after, limit];
  const conditions = ["seq > $1"];
  const add = (condition: (...marks: string[]) => string, ...more: Element[]) => {
    conditions.push(condition(...more.map((_, index) => `$${values.length + index + 1}`)));
    values.push(...more);
  };
  if (!isIndexed(query)) conditions.push(`seq < (${FIRST_AFTER}) + ${MAX_SCANNED_EVENTS}`);
  if (host !== undefined) add(mark => `(host = ${mark} OR from_host = ${mark})`, host);
  if (type !== undefined) add(mark => `type = ANY (${mark}::text[])`, toArray(type));
  const identity = findIdentity(query);
  if (identity !== undefined) {
    add(
      (value, keys) =>
        `port_key = ANY (ARRAY(SELECT port_key FROM event_identities WHERE value = ${value} UNION SELECT unnest(${keys}::bigint[])))`,
      identity,
      toArray(livePorts),
    );
  }
  if (port !== undefined) add(mark => `port = ${mark}`, port);
  if (mac !== undefined) add(mark => `mac = ${mark}`, encodeMac(mac));
  if (ip !== undefined) {
    const address = canonicalAddress(ip) ?? ip;
    add(
      (now, former) =>
        `(${now} = ANY (string_to_array(addresses, ',')) OR ${former} = ANY (string_to_array(identities, ',')))`,
      address,
      addressIdentity(address),
    );
  }
  const columns = EVENT_COLUMNS.map(([name]) => name).join(", ");
  // An expression makes PostgreSQL sort the few events of a port, found by its index, instead of scanning all events.
  const order = identity === undefined ? "seq" : "seq + 0";
  const where = conditions.join(" AND ");
  const select = prepare(`SELECT ${columns} FROM events WHERE ${where} ORDER BY ${order} LIMIT $2::int`);
  const [extent, rows] = await Promise.all([
    send<[lastSeq: number, oldestSeq: number, first: number | null]>(EXTENT, after),
    send<EventRow>(select, ...values),
  ]);
  const [lastSeq = 0, oldestSeq = 1, first] = extent[0] ?? [];
  const scannedUpTo = isIndexed(query) ? lastSeq : (first ?? after) + MAX_SCANNED_EVENTS - 1;
  return toEventList(rows, { limit, scannedUpTo, lastSeq, oldestSeq });
}
