import type Database from "better-sqlite3";
import { IpamError, type PortList, type PortQuery } from "../../../contract/index.ts";
import { parseAddress } from "../../../domain/model/address.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import { parseMac } from "../../../domain/model/mac.ts";
import { locate } from "../../../domain/model/needs.ts";
import { toPort } from "../../../domain/model/port-record.ts";
import { matches, parseSelector } from "../../../domain/model/selector.ts";
import { encodeOffset } from "../../offset-code.ts";
import { bindingKeysOf } from "../rows/binding-key.ts";
import { encodeMac, PORT_COLUMNS, type PortRow, parseColumn } from "../rows/port-rows.ts";
import type { SnapshotLoader } from "./snapshot-loader.ts";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
/** Rows looked at for one page: a rare label makes many short pages, not one that blocks the server. */
const MAX_SCANNED = 20_000;

const STATES = "bound, unbound, or a pair of DOWN, BUILD, ACTIVE and ERROR such as ACTIVE_ACTIVE";
const STATE_PAIR = /^(DOWN|BUILD|ACTIVE|ERROR)_(DOWN|BUILD|ACTIVE|ERROR)$/;

/** Finds ports by what PortQuery asks, in order of their names. */
export class PortReader {
  readonly #database: Database.Database;
  readonly #loader: SnapshotLoader;

  constructor(database: Database.Database, loader: SnapshotLoader) {
    this.#database = database;
    this.#loader = loader;
  }

  read(query: PortQuery, catalog: Catalog): PortList {
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
    const { source, conditions, values, scans } = this.#plan(query, catalog);
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
      if (selector && !matches(selector, row[5] === null ? {} : parseColumn(row[5]))) continue;
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

  /** The name that a scan ended at because it had looked at enough; undefined when it came to the end. */
  #lastScanned(cursor: string): string | undefined {
    return this.#database
      .prepare<[string], string>(
        `SELECT name FROM ports WHERE name > ? ORDER BY name LIMIT 1 OFFSET ${MAX_SCANNED - 1}`,
      )
      .pluck()
      .get(cursor);
  }

  #plan({ name, network, host, ip, mac, state, cluster }: PortQuery, catalog: Catalog): QueryPlan {
    const plan: QueryPlan = { source: "ports", conditions: [], values: {}, scans: false };
    const add = (condition: string, values: Record<string, unknown>) => {
      plan.conditions.push(condition);
      Object.assign(plan.values, values);
    };
    if (network !== undefined) {
      add("network_id = $network", { network: catalog.networks.find(n => n.name === network)?.id ?? -1 });
    }
    if (cluster !== undefined) add("cluster = $cluster", { cluster });
    if (state !== undefined) addState(state, add);
    if (name !== undefined) add("name = $name", { name });
    if (mac !== undefined) add("mac = $mac", { mac: encodeMac(parseMac(mac, "mac")) });
    if (ip !== undefined)
      add("key IN (SELECT value FROM json_each($keys))", { keys: JSON.stringify(this.#findHolders(ip, catalog)) });
    if (host !== undefined) {
      add("binding_key BETWEEN $first AND $last AND host = $host", { host, ...bindingKeysOf(host) });
    }
    // One of these leads to few rows by its index; without them all ports are looked through, a piece at a time.
    if (mac !== undefined) plan.source = "ports INDEXED BY ports_mac";
    else if (host !== undefined && name === undefined && ip === undefined)
      plan.source = "ports INDEXED BY ports_binding";
    plan.scans = name === undefined && mac === undefined && ip === undefined && host === undefined;
    return plan;
  }

  /** The keys of the ports that have a name, address or MAC now. */
  findKeys({ name, ip, mac }: Pick<PortQuery, "name" | "ip" | "mac">, catalog: Catalog): number[] {
    const find = (condition: string, value: string | number) =>
      this.#database.prepare<[string | number], number>(`SELECT key FROM ports WHERE ${condition}`).pluck().all(value);
    if (name !== undefined) return find("name = ?", name);
    if (ip !== undefined) return this.#findHolders(ip, catalog);
    return mac === undefined ? [] : find("mac = ?", encodeMac(parseMac(mac, "mac")));
  }

  #findHolders(ip: string, catalog: Catalog): number[] {
    if (!parseAddress(ip)) {
      throw new IpamError("invalid_request", `ip is ${JSON.stringify(ip)}; expected an address such as 10.0.0.7`, {
        field: "ip",
      });
    }
    const holder = this.#database
      .prepare<[number, bigint], number>("SELECT port_key FROM fixed_ips WHERE subnet_id = ? AND offset = ?")
      .pluck();
    return locate(ip, catalog).flatMap(
      ({ subnetId, offset }) => holder.get(subnetId, encodeOffset(catalog.subnet(subnetId).cidr.version, offset)) ?? [],
    );
  }
}

interface QueryPlan {
  source: string;
  conditions: string[];
  values: Record<string, unknown>;
  scans: boolean;
}

type AddCondition = (condition: string, values: Record<string, unknown>) => void;

function addState(state: string, add: AddCondition): void {
  const [, underlay, overlay] = STATE_PAIR.exec(state) ?? [];
  if (state === "bound") add("host IS NOT NULL", {});
  else if (state === "unbound") add("host IS NULL", {});
  else if (underlay !== undefined) add("underlay = $underlay AND overlay = $overlay", { underlay, overlay });
  else {
    throw new IpamError("invalid_request", `state is ${JSON.stringify(state)}; expected ${STATES}`, { field: "state" });
  }
}
