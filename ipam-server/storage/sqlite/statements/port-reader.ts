import type Database from "better-sqlite3";
import type { PortList, PortQuery } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import { parseMac } from "../../../domain/model/mac.ts";
import { toPort } from "../../../domain/model/port-record.ts";
import { parseSelector } from "../../../domain/model/selector.ts";
import { MAX_SCANNED, pageSize } from "../../limits.ts";
import { encodeOffset } from "../../offset-code.ts";
import { hasLabels, isScan, locateAddress, networkIdOf, type PortIdentity, parsePortState } from "../../port-query.ts";
import { bindingKeysOf } from "../rows/binding-key.ts";
import { encodeMac, PORT_COLUMNS, type PortRow } from "../rows/port-rows.ts";
import type { SnapshotLoader } from "./snapshot-loader.ts";

/** Lists the ports that match a query, in order of their names. */
export class PortReader {
  readonly #database: Database.Database;
  readonly #loader: SnapshotLoader;

  constructor(database: Database.Database, loader: SnapshotLoader) {
    this.#database = database;
    this.#loader = loader;
  }

  read(query: PortQuery, catalog: Catalog): PortList {
    const limit = pageSize(query.limit);
    const scans = isScan(query);
    const { source, conditions, values } = this.#plan(query, catalog);
    const selector = query.label === undefined ? undefined : parseSelector(query.label, "label");
    const where = [...conditions, "name > $cursor"].join(" AND ");
    const inner = scans ? `(SELECT * FROM ports WHERE name > $cursor ORDER BY name LIMIT ${MAX_SCANNED})` : source;
    const rows: PortRow[] = [];
    let more = false;
    const statement = this.#database
      .prepare<unknown[], PortRow>(`SELECT ${PORT_COLUMNS.join(", ")} FROM ${inner} WHERE ${where} ORDER BY name`)
      .raw();
    const cursor = query.cursor ?? "";
    for (const row of statement.iterate({ ...values, cursor })) {
      if (!hasLabels(row, selector)) continue;
      if (rows.length === limit) {
        more = true;
        break;
      }
      rows.push(row);
    }
    const nextCursor = more ? rows.at(-1)?.[2] : scans ? this.#lastScanned(cursor) : undefined;
    const ports = this.#loader.withFixedIps(rows, catalog).map(port => toPort(port, catalog));
    return { ports, ...(nextCursor !== undefined && { nextCursor }) };
  }

  /** The name at which a scan reaches MAX_SCANNED rows; undefined if it reaches the end of the table. */
  #lastScanned(cursor: string): string | undefined {
    return this.#database
      .prepare<[string], string>(
        `SELECT name FROM ports WHERE name > ? ORDER BY name LIMIT 1 OFFSET ${MAX_SCANNED - 1}`,
      )
      .pluck()
      .get(cursor);
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
    if (host !== undefined) {
      add("binding_key BETWEEN $first AND $last AND host = $host", { host, ...bindingKeysOf(host) });
    }
    // SQLite's planner would otherwise prefer the index on the name, which scans all ports.
    if (mac !== undefined) plan.source = "ports INDEXED BY ports_mac";
    else if (host !== undefined && name === undefined && ip === undefined)
      plan.source = "ports INDEXED BY ports_binding";
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
