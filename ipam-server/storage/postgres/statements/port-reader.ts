import { IpamError, type PortList, type PortQuery } from "../../../contract/index.ts";
import { parseAddress } from "../../../domain/model/address.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import { parseMac } from "../../../domain/model/mac.ts";
import { locate } from "../../../domain/model/needs.ts";
import { type PortRecord, toPort } from "../../../domain/model/port-record.ts";
import { matches, parseSelector, type Selector } from "../../../domain/model/selector.ts";
import { type Element, toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";
import { encodeOffset } from "../rows/offset-code.ts";
import { encodeMac, PORT_COLUMN_LIST, type PortRow, parseColumn } from "../rows/port-rows.ts";
import { type FixedIpRow, withFixedIps } from "./snapshot-loader.ts";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
/** Rows looked at for one page: a rare label makes many short pages, not one that takes long. */
const MAX_SCANNED = 20_000;
/** Rows fetched at once when a label is looked for among them. */
const CHUNK = 2000;

const STATES = "bound, unbound, or a pair of DOWN, BUILD, ACTIVE and ERROR such as ACTIVE_ACTIVE";
const STATE_PAIR = /^(DOWN|BUILD|ACTIVE|ERROR)_(DOWN|BUILD|ACTIVE|ERROR)$/;

const FIXED_IPS = prepare(
  "SELECT port_key, subnet_id, ip_offset::text FROM fixed_ips WHERE port_key = ANY ($1::bigint[])",
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

export async function addFixedIps(send: Send, rows: readonly PortRow[], catalog: Catalog): Promise<PortRecord[]> {
  if (rows.length === 0) return [];
  return withFixedIps(rows, await send<FixedIpRow>(FIXED_IPS, toArray(rows.map(([key]) => key))), catalog);
}

/** Finds ports by what PortQuery asks, in order of their names. */
export async function readPorts(send: Send, query: PortQuery, catalog: Catalog): Promise<PortList> {
  const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
  const plan = await planQuery(send, query, catalog);
  const selector = query.label === undefined ? undefined : parseSelector(query.label, "label");
  const cursor = query.cursor ?? "";
  // Without a name, address, MAC or host all ports are looked through, a piece at a time.
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
  // As an expression it is sorted: the index that finds the few is not passed over for the one that is in order.
  const order = scans ? "name" : "name || ''";
  const statement = prepare(
    `SELECT ${PORT_COLUMN_LIST} FROM ports WHERE ${where} ORDER BY ${order} LIMIT $${values.length + 2}::int`,
  );
  const found: PortRow[] = [];
  const size = selector ? CHUNK : wanted;
  for (let after = cursor; ; ) {
    const rows = await send<PortRow>(statement, ...values, after, size);
    for (const row of rows) {
      const labels = row[5];
      if (selector && !matches(selector, labels === null ? {} : parseColumn(labels))) continue;
      found.push(row);
      if (found.length === wanted) return found;
    }
    const last = rows.at(-1)?.[2];
    if (rows.length < size || last === undefined) return found;
    after = last;
  }
}

/** The keys of the ports that have a name, address or MAC now. */
export async function findKeys(
  send: Send,
  { name, ip, mac }: Pick<PortQuery, "name" | "ip" | "mac">,
  catalog: Catalog,
): Promise<number[]> {
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
  if (!parseAddress(ip)) {
    throw new IpamError("invalid_request", `ip is ${JSON.stringify(ip)}; expected an address such as 10.0.0.7`, {
      field: "ip",
    });
  }
  const places = locate(ip, catalog);
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
  const scans = name === undefined && mac === undefined && ip === undefined && host === undefined;
  const plan: QueryPlan = { conditions: [], values: [], scans };
  if (network !== undefined) {
    add(plan, mark => `network_id = ${mark}::int`, catalog.networks.find(n => n.name === network)?.id ?? -1);
  }
  if (cluster !== undefined) add(plan, mark => `cluster = ${mark}`, cluster);
  if (state !== undefined) addState(plan, state);
  if (name !== undefined) add(plan, mark => `name = ${mark}`, name);
  if (mac !== undefined) add(plan, mark => `mac = ${mark}::bigint`, encodeMac(parseMac(mac, "mac")));
  if (ip !== undefined) {
    const keys = toArray(await findHolders(send, ip, catalog));
    add(plan, mark => `key = ANY (${mark}::bigint[])`, keys);
  }
  if (host !== undefined) add(plan, mark => `host = ${mark}`, host);
  return plan;
}

function addState(plan: QueryPlan, state: string): void {
  const [, underlay, overlay] = STATE_PAIR.exec(state) ?? [];
  if (state === "bound") add(plan, () => "host IS NOT NULL");
  else if (state === "unbound") add(plan, () => "host IS NULL");
  else if (underlay !== undefined && overlay !== undefined) {
    add(plan, (a, b) => `underlay = ${a} AND overlay = ${b}`, underlay, overlay);
  } else {
    throw new IpamError("invalid_request", `state is ${JSON.stringify(state)}; expected ${STATES}`, { field: "state" });
  }
}
