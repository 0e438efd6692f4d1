import type { Cluster } from "../../../contract/index.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { HeldIp, PortRecord } from "../../../domain/model/port-record.ts";
import type { CoolingAddress } from "../../../domain/networks/cooling.ts";
import type { Finding } from "../../../domain/store.ts";
import {
  COUNT_LIMIT,
  type Duplicate,
  type ImportedFreed,
  type TransferSink,
} from "../../../domain/transfer/import-store.ts";
import type { TransferState } from "../../../domain/transfer/transfer.ts";
import type { ImportedNetwork } from "../../../domain/transfer/transfer-records.ts";
import { encodeCooling } from "../../cooling-rows.ts";
import { encodeFreedState } from "../../freed-rows.ts";
import { encodeOffset } from "../../offset-code.ts";
import { checkStore } from "../check/check-store.ts";
import { toColumns } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";
import { encodePort, PORT_COLUMN_LIST, PORT_COLUMNS } from "../rows/port-rows.ts";
import { writeCluster } from "../statements/cluster-table.ts";
import { addSubnet, orderSubnets, writeNetwork } from "../statements/network-writer.ts";
import { FREED_COLUMNS, HELD_COLUMNS, SET_COUNTERS, unnest } from "../statements/write-applier.ts";
import { PostgresSource } from "./export-rows.ts";

const countOf = (table: string) => `(SELECT count(*) FROM (SELECT FROM ${table} LIMIT ${COUNT_LIMIT}) AS counted)`;
const COUNT = prepare(`SELECT ${["networks", "ports", "events"].map(countOf).join(", ")}`);
const SET_UPDATED = prepare("UPDATE networks SET updated_at = $2 WHERE id = $1");

/** Skips conflicting rows, so that the transaction continues and the missing keys show which rows conflicted. */
const INSERT_PORTS = prepare(
  `INSERT INTO ports (${PORT_COLUMN_LIST}) SELECT * FROM ${unnest(PORT_COLUMNS)} ON CONFLICT DO NOTHING RETURNING key`,
);
const addressesInto = (table: string, columns: readonly (readonly [name: string, type: string])[]) =>
  prepare(
    `INSERT INTO ${table} (${columns.map(([name]) => name).join(", ")}) SELECT * FROM ${unnest(columns)}
     ON CONFLICT DO NOTHING RETURNING subnet_id, ip_offset::text`,
  );
const INSERT_HELD = addressesInto("fixed_ips", HELD_COLUMNS);
const INSERT_FREED = addressesInto("freed", FREED_COLUMNS);
const COOLING_COLUMNS = [
  ["segment", "text"],
  ["cidr", "text"],
  ["ip_offset", "bigint"],
  ["freed_at", "bigint"],
  ["last_port", "text"],
] as const;
const INSERT_COOLING = prepare(
  `INSERT INTO cooling (segment, cidr, ip_offset, freed_at, last_port) SELECT * FROM ${unnest(COOLING_COLUMNS)}
   ON CONFLICT DO NOTHING RETURNING segment, cidr, ip_offset::text`,
);
const SET_STATE = [
  prepare("UPDATE event_counter SET last_seq = $1, floor = $1"),
  prepare("UPDATE port_keys SET next_port_key = $1"),
  prepare("UPDATE catalog_state SET epoch_floor = $1, generation = generation + 1, revision = revision + 1"),
] as const;

/** Fills an empty database, in a transaction that excludes every other decision. */
export class PostgresSink extends PostgresSource implements TransferSink {
  readonly #send: Send;

  constructor(send: Send) {
    super(send);
    this.#send = send;
  }

  async count() {
    const [row] = await this.#send<[networks: number, ports: number, events: number]>(COUNT);
    const [networks = 0, ports = 0, events = 0] = row ?? [];
    return { networks, ports, events };
  }

  async addNetwork({ declaration, createdAt, updatedAt, subnets }: ImportedNetwork): Promise<void> {
    const networkId = await writeNetwork(this.#send, declaration, createdAt);
    await this.#send(SET_UPDATED, networkId, updatedAt);
    for (const [position, subnet] of declaration.subnets.entries()) {
      const kept = subnets[position];
      if (!kept) continue;
      const { held, outside, freed, cursors } = kept;
      const id = await addSubnet(this.#send, networkId, subnet, ({ first }, index) => cursors[index] ?? first);
      await this.#send(SET_COUNTERS, ...toColumns([[id, held, outside, freed]], 4));
    }
    await orderSubnets(this.#send, networkId, declaration);
  }

  async addPorts(ports: readonly PortRecord[], catalog: Catalog): Promise<Duplicate | undefined> {
    const held = ports.flatMap(({ key, fixedIps }, index) =>
      fixedIps.map(ip => ({ key, index, stored: encode(catalog, ip) })),
    );
    const [keys, addresses] = await Promise.all([
      this.#send<[key: number]>(INSERT_PORTS, ...toColumns(ports.map(encodePort), PORT_COLUMNS.length)),
      held.length === 0
        ? []
        : this.#send<AddressRow>(
            INSERT_HELD,
            ...toColumns(
              held.map(({ stored, key }) => [...stored, key]),
              3,
            ),
          ),
    ]);
    if (keys.length < ports.length) {
      const inserted = new Set(keys.map(([key]) => key));
      return { index: ports.findIndex(({ key }) => !inserted.has(key)), what: "its name, MAC or slot" };
    }
    const missing = firstMissing(held, addresses);
    return missing && { index: missing.index, what: "an address" };
  }

  async addFreed(freed: readonly ImportedFreed[], catalog: Catalog): Promise<Duplicate | undefined> {
    const rows = freed.map((ip, index) => ({ ip, index, stored: encode(catalog, ip) }));
    const columns = toColumns(
      rows.map(({ ip, stored }) => [...stored, ip.pooled ? 1 : 0, ...encodeFreedState(ip)]),
      FREED_COLUMNS.length,
    );
    const missing = firstMissing(rows, await this.#send<AddressRow>(INSERT_FREED, ...columns));
    return missing && { index: missing.index, what: "the same address" };
  }

  async addCooling(cooling: readonly CoolingAddress[]): Promise<Duplicate | undefined> {
    const rows = cooling.map(encodeCooling);
    const put = await this.#send<[segment: string, cidr: string, offset: string]>(
      INSERT_COOLING,
      ...toColumns(rows, COOLING_COLUMNS.length),
    );
    const left = new Set(put.map(key => key.join(" ")));
    const index = rows.findIndex(([segment, cidr, offset]) => !left.delete(`${segment} ${cidr} ${offset}`));
    return index < 0 ? undefined : { index, what: "the same address" };
  }

  async addCluster(cluster: Cluster): Promise<void> {
    await writeCluster(this.#send, cluster.name, cluster);
  }

  async setState({ lastSeq, nextPortKey, epochFloor }: TransferState): Promise<void> {
    const values = [lastSeq, nextPortKey, epochFloor];
    await Promise.all(SET_STATE.map((statement, index) => this.#send(statement, values[index] ?? 0)));
  }

  async check(catalog: Catalog): Promise<Finding[]> {
    return checkStore(this.#send, catalog);
  }
}

type AddressRow = [subnetId: number, offset: string];
type Stored = [subnetId: number, offset: bigint];

const encode = (catalog: Catalog, { subnetId, offset }: HeldIp): Stored => [
  subnetId,
  encodeOffset(catalog.subnet(subnetId).cidr.version, offset),
];

/** The first whose address was not inserted: the later of two with the same address. */
function firstMissing<T extends { stored: Stored }>(wanted: readonly T[], put: readonly AddressRow[]): T | undefined {
  if (put.length === wanted.length) return undefined;
  const left = new Set(put.map(([subnetId, offset]) => `${subnetId}/${offset}`));
  return wanted.find(({ stored: [subnetId, offset] }) => !left.delete(`${subnetId}/${offset}`));
}
