import type Database from "better-sqlite3";
import type { Port, PortList, PortQuery } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import { parseMac } from "../../../domain/model/mac.ts";
import { toPort } from "../../../domain/model/port-record.ts";
import { parseSelector } from "../../../domain/model/selector.ts";
import { pageSize } from "../../limits.ts";
import { encodeOffset } from "../../offset-code.ts";
import { hasLabels, isScan, locateAddress, networkIdOf, type PortIdentity, parsePortState } from "../../port-query.ts";
import { bindingKeysOf } from "../rows/binding-key.ts";
import { encodeMac, PORT_COLUMNS, type PortRow } from "../rows/port-rows.ts";
import type { PortScan, ScannedPorts } from "./port-scan.ts";
import type { SnapshotLoader } from "./snapshot-loader.ts";

/** Lists the ports that match a query, in order of their names. */
export class PortReader {
  readonly #database: Database.Database;
  readonly #loader: SnapshotLoader;

  constructor(database: Database.Database, loader: SnapshotLoader) {
    this.#database = database;
    this.#loader = loader;
  }

  /** Reads the ports that an index finds. */
  read(query: PortQuery, catalog: Catalog): PortList {
    const limit = pageSize(query.limit);
    const { source, conditions, values } = this.#plan(query, catalog);
    const where = [...conditions, "name > $cursor"].join(" AND ");
    const selected = this.#select(source, where, { ...values, cursor: query.cursor ?? "" }, query.label);
    const rows = selected.take(limit + 1).toArray();
    const nextCursor = rows.length > limit ? rows[limit - 1]?.[2] : undefined;
    return { ports: this.#toPorts(rows.slice(0, limit), catalog), ...(nextCursor !== undefined && { nextCursor }) };
  }

  /** What to scan for a query that no index answers; undefined for all others. */
  planScan(query: PortQuery, catalog: Catalog): PortScan | undefined {
    if (!isScan(query)) return undefined;
    const { label, cursor = "", limit } = query;
    if (label !== undefined) parseSelector(label, "label");
    const { conditions, values } = this.#plan(query, catalog);
    return { conditions, values, ...(label !== undefined && { label }), cursor, limit: pageSize(limit) };
  }

  /** Reads the ports that a scan found, except those that were changed since and no longer match. */
  readScanned({ conditions, values, label }: PortScan, { keys, nextCursor }: ScannedPorts, catalog: Catalog): PortList {
    const where = [...conditions, "key IN (SELECT value FROM json_each($found))"].join(" AND ");
    const rows = this.#select("ports", where, { ...values, found: JSON.stringify(keys) }, label);
    return { ports: this.#toPorts(rows.toArray(), catalog), ...(nextCursor !== undefined && { nextCursor }) };
  }

  *#select(
    source: string,
    where: string,
    values: Record<string, unknown>,
    label: string | undefined,
  ): Generator<PortRow, undefined> {
    const selector = label === undefined ? undefined : parseSelector(label, "label");
    const statement = this.#database
      .prepare<unknown[], PortRow>(`SELECT ${PORT_COLUMNS.join(", ")} FROM ${source} WHERE ${where} ORDER BY name`)
      .raw();
    for (const row of statement.iterate(values)) if (hasLabels(row, selector)) yield row;
  }

  #toPorts(rows: PortRow[], catalog: Catalog): Port[] {
    return this.#loader.withFixedIps(rows, catalog).map(port => toPort(port, catalog));
  }

  #plan({ name, network, host, ip, mac, state, cluster }: PortQuery, catalog: Catalog): QueryPlan {
    const plan: QueryPlan = { source: "ports", conditions: [], values: {} };
    const add = (condition: string, values: Record<string, unknown>) => {
      plan.conditions.push(condition);
      Object.assign(plan.values, values);
    };
    if (network !== undefined) add("network_id = $network", { network: networkIdOf(network, catalog) });
    if (cluster !== undefined) add("cluster = $cluster", { cluster });
    if (state !== undefined) addState(state, add);
    if (name !== undefined) add("name = $name", { name });
    if (mac !== undefined) add("mac = $mac", { mac: encodeMac(parseMac(mac, "mac")) });
    if (ip !== undefined)
      add("key IN (SELECT value FROM json_each($keys))", { keys: JSON.stringify(this.#findHolders(ip, catalog)) });
    if (host !== undefined) add("(host = $host OR inactive_host = $host)", { host });
    // SQLite's planner would otherwise prefer the index on the name, which scans all ports.
    if (mac !== undefined) plan.source = "ports INDEXED BY ports_mac";
    else if (host !== undefined && name === undefined && ip === undefined) {
      plan.source = BOUND_TO_HOST;
      Object.assign(plan.values, bindingKeysOf(host));
    }
    return plan;
  }

  /** The keys of the ports that have a name, address or MAC now. */
  findKeys({ name, ip, mac }: PortIdentity, catalog: Catalog): number[] {
    const find = (condition: string, value: string | number) =>
      this.#database.prepare<[string | number], number>(`SELECT key FROM ports WHERE ${condition}`).pluck().all(value);
    if (name !== undefined) return find("name = ?", name);
    if (ip !== undefined) return this.#findHolders(ip, catalog);
    return mac === undefined ? [] : find("mac = ?", encodeMac(parseMac(mac, "mac")));
  }

  #findHolders(ip: string, catalog: Catalog): number[] {
    const holder = this.#database
      .prepare<[number, bigint], number>("SELECT port_key FROM fixed_ips WHERE subnet_id = ? AND offset = ?")
      .pluck();
    return locateAddress(ip, catalog).flatMap(
      ({ subnetId, offset }) => holder.get(subnetId, encodeOffset(catalog.subnet(subnetId).cidr.version, offset)) ?? [],
    );
  }
}

/** By either binding; no port has both on one host. */
const BOUND_TO_HOST = `(
  SELECT * FROM ports INDEXED BY ports_binding WHERE binding_key BETWEEN $first AND $last AND host = $host
  UNION ALL SELECT * FROM ports INDEXED BY ports_inactive WHERE inactive_host = $host)`;

interface QueryPlan {
  source: string;
  conditions: string[];
  values: Record<string, unknown>;
}

type AddCondition = (condition: string, values: Record<string, unknown>) => void;

function addState(text: string, add: AddCondition): void {
  const state = parsePortState(text);
  if ("isBound" in state) add(`host IS ${state.isBound ? "NOT " : ""}NULL`, {});
  else add("underlay = $underlay AND overlay = $overlay", state);
}
