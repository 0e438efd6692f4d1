import type { Conflict, PortList, PortQuery } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import { parseMac } from "../../../domain/model/mac.ts";
import { type PortRecord, toPort } from "../../../domain/model/port-record.ts";
import { parseSelector, type Selector } from "../../../domain/model/selector.ts";
import { decodeConflicts, FREED_STATE_COLUMNS, type PlacedFreedRow } from "../../freed-rows.ts";
import { MAX_CONFLICTS, MAX_SCANNED, pageSize } from "../../limits.ts";
import { encodeOffset } from "../../offset-code.ts";
import { hasLabels, isScan, locateAddress, networkIdOf, type PortIdentity, parsePortState } from "../../port-query.ts";
import { type Element, toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";
import { encodeMac, PORT_COLUMN_LIST, type PortRow } from "../rows/port-rows.ts";
import { type FixedIpRow, withFixedIps } from "./snapshot-loader.ts";

/** Rows fetched at once when the selector is evaluated here. */
const CHUNK = 2000;

const FIXED_IPS = prepare(
  "SELECT port_key, subnet_id, ip_offset::text FROM fixed_ips WHERE port_key = ANY ($1::bigint[])",
);
const CONFLICTS = prepare(
  `SELECT subnet_id, ip_offset::text, ${FREED_STATE_COLUMNS} FROM freed
   WHERE conflict_mac IS NOT NULL ORDER BY subnet_id, ip_offset LIMIT ${MAX_CONFLICTS}`,
);
const BY_NAME = prepare(`SELECT ${PORT_COLUMN_LIST} FROM ports WHERE name = $1`);
const KEYS_BY_NAME = prepare("SELECT key FROM ports WHERE name = $1");
const KEYS_BY_MAC = prepare("SELECT key FROM ports WHERE mac = $1::bigint");
const HOLDERS = prepare(
  `SELECT port_key FROM unnest($1::int[], $2::bigint[]) AS w (subnet_id, ip_offset) JOIN fixed_ips
   USING (subnet_id, ip_offset)`,
);
const LAST_SCANNED = prepare(`SELECT name FROM ports WHERE name > $1 ORDER BY name LIMIT 1 OFFSET ${MAX_SCANNED - 1}`);

export async function readPort(send: Send, name: string, catalog: Catalog): Promise<PortRecord | undefined> {
  const [port] = await addFixedIps(send, await send<PortRow>(BY_NAME, name), catalog);
  return port;
}

export async function readConflicts(send: Send, catalog: Catalog): Promise<Conflict[]> {
  return decodeConflicts(await send<PlacedFreedRow>(CONFLICTS), catalog);
}

export async function addFixedIps(send: Send, rows: readonly PortRow[], catalog: Catalog): Promise<PortRecord[]> {
  if (rows.length === 0) return [];
  return withFixedIps(rows, await send<FixedIpRow>(FIXED_IPS, toArray(rows.map(([key]) => key))), catalog);
}

/** Lists the ports that match a query, in order of their names. */
export async function readPorts(send: Send, query: PortQuery, catalog: Catalog): Promise<PortList> {
  const limit = pageSize(query.limit);
  const plan = await planQuery(send, query, catalog);
  const selector = query.label === undefined ? undefined : parseSelector(query.label, "label");
  const cursor = query.cursor ?? "";
  const end = plan.scans ? (await send<[name: string]>(LAST_SCANNED, cursor))[0]?.[0] : undefined;
  if (end !== undefined) add(plan, mark => `name <= ${mark}`, end);
  const found = await collect(send, plan, cursor, limit + 1, selector);
  const rows = found.slice(0, limit);
  const last = rows.at(-1)?.[2];
  const nextCursor = found.length > limit ? last : end;
  const ports = await addFixedIps(send, rows, catalog);
  return { ports: ports.map(port => toPort(port, catalog)), ...(nextCursor !== undefined && { nextCursor }) };
}

async function collect(
  send: Send,
  { conditions, values, scans }: QueryPlan,
  cursor: string,
  wanted: number,
  selector: Selector | undefined,
): Promise<PortRow[]> {
  const where = [...conditions, `name > $${values.length + 1}`].join(" AND ");
  // An expression makes PostgreSQL sort the few rows that an index finds, instead of scanning the index on the name.
  const order = scans ? "name" : "name || ''";
  const statement = prepare(
    `SELECT ${PORT_COLUMN_LIST} FROM ports WHERE ${where} ORDER BY ${order} LIMIT $${values.length + 2}::int`,
  );
  const found: PortRow[] = [];
  const size = selector ? CHUNK : wanted;
  for (let after = cursor; ; ) {
    const rows = await send<PortRow>(statement, ...values, after, size);
    for (const row of rows) {
      if (!hasLabels(row, selector)) continue;
      found.push(row);
      if (found.length === wanted) return found;
    }
    const last = rows.at(-1)?.[2];
    if (rows.length < size || last === undefined) return found;
    after = last;
  }
}

/** The keys of the ports that have a name, address or MAC now. */
export async function findKeys(send: Send, { name, ip, mac }: PortIdentity, catalog: Catalog): Promise<number[]> {
  if (ip !== undefined && name === undefined) return findHolders(send, ip, catalog);
  const rows =
    name !== undefined
      ? await send<[key: number]>(KEYS_BY_NAME, name)
      : mac !== undefined
        ? await send<[key: number]>(KEYS_BY_MAC, encodeMac(parseMac(mac, "mac")))
        : [];
  return rows.map(([key]) => key);
}

async function findHolders(send: Send, ip: string, catalog: Catalog): Promise<number[]> {
  const places = locateAddress(ip, catalog);
  const rows = await send<[key: number]>(
    HOLDERS,
    toArray(places.map(({ subnetId }) => subnetId)),
    toArray(places.map(({ subnetId, offset }) => encodeOffset(catalog.subnet(subnetId).cidr.version, offset))),
  );
  return rows.map(([key]) => key);
}

interface QueryPlan {
  conditions: string[];
  values: Element[];
  scans: boolean;
}

function add(plan: QueryPlan, condition: (...marks: string[]) => string, ...values: Element[]): void {
  plan.conditions.push(condition(...values.map((_, index) => `$${plan.values.length + index + 1}`)));
  plan.values.push(...values);
}

async function planQuery(send: Send, query: PortQuery, catalog: Catalog): Promise<QueryPlan> {
  const { name, network, host, ip, mac, state, cluster } = query;
  const plan: QueryPlan = { conditions: [], values: [], scans: isScan(query) };
  if (network !== undefined) add(plan, mark => `network_id = ${mark}::int`, networkIdOf(network, catalog));
  if (cluster !== undefined) add(plan, mark => `cluster = ${mark}`, cluster);
  if (state !== undefined) addState(plan, state);
  if (name !== undefined) add(plan, mark => `name = ${mark}`, name);
  if (mac !== undefined) add(plan, mark => `mac = ${mark}::bigint`, encodeMac(parseMac(mac, "mac")));
  if (ip !== undefined) {
    const keys = toArray(await findHolders(send, ip, catalog));
    add(plan, mark => `key = ANY (${mark}::bigint[])`, keys);
  }
  if (host !== undefined) add(plan, mark => `(host = ${mark} OR inactive_host = ${mark})`, host);
  return plan;
}

function addState(plan: QueryPlan, text: string): void {
  const state = parsePortState(text);
  if ("isBound" in state) add(plan, () => `host IS ${state.isBound ? "NOT " : ""}NULL`);
  else add(plan, (a, b) => `underlay = ${a} AND overlay = ${b}`, state.underlay, state.overlay);
}
