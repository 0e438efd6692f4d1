import Database from "better-sqlite3";
import type { Cluster, ImportResponse, TransferEnd } from "../../../contract/index.ts";
import type { Catalog, SubnetDeclaration } from "../../../domain/model/catalog.ts";
import type { PortRecord } from "../../../domain/model/port-record.ts";
import type { CoolingAddress } from "../../../domain/networks/cooling.ts";
import type { Finding } from "../../../domain/store.ts";
import {
  COUNT_LIMIT,
  type Duplicate,
  type ImportedFreed,
  importStore,
  type TransferSink,
} from "../../../domain/transfer/import-store.ts";
import type { TransferRow, TransferState } from "../../../domain/transfer/transfer.ts";
import type { ImportedNetwork } from "../../../domain/transfer/transfer-records.ts";
import { encodeNetwork, encodeSubnet, NEW_NETWORK_COLUMNS } from "../../catalog-rows.ts";
import { encodeCooling } from "../../cooling-rows.ts";
import { encodeFreedState, FREED_STATE_COLUMNS } from "../../freed-rows.ts";
import { encodeCount, encodeOffset } from "../../offset-code.ts";
import { checkStore } from "../check/check-store.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { encodePort, PORT_COLUMNS } from "../rows/port-rows.ts";
import { writeCluster } from "../statements/cluster-table.ts";
import { NetworkWriter } from "../statements/network-writer.ts";
import { SqliteSource } from "./export-rows.ts";

/**
 * Fills an empty database (`Store.importRows`). The transaction stays open while it waits for rows, so the caller keeps
 * everything else off the connection.
 */
export async function importRows(
  database: Database.Database,
  rows: AsyncIterable<TransferRow | TransferEnd>,
): Promise<ImportResponse> {
  database.exec("BEGIN IMMEDIATE");
  try {
    const imported = await importStore(rows, new SqliteSink(database));
    new NetworkWriter(database).updatePools(loadCatalog(database));
    database.exec("COMMIT");
    return imported;
  } catch (error) {
    if (database.open && database.inTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

class SqliteSink extends SqliteSource implements TransferSink {
  readonly #database: Database.Database;
  readonly #insertPort: Database.Statement<unknown[]>;
  readonly #insertHeld: Database.Statement<unknown[]>;
  readonly #insertFreed: Database.Statement<unknown[]>;
  readonly #insertCooling: Database.Statement<unknown[]>;

  constructor(database: Database.Database) {
    super(database);
    this.#database = database;
    const marks = PORT_COLUMNS.map(() => "?").join(", ");
    this.#insertPort = database.prepare(`INSERT INTO ports (${PORT_COLUMNS.join(", ")}) VALUES (${marks})`);
    this.#insertHeld = database.prepare("INSERT INTO fixed_ips (subnet_id, offset, port_key) VALUES (?, ?, ?)");
    this.#insertFreed = database.prepare(
      `INSERT INTO freed (subnet_id, offset, pooled, ${FREED_STATE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#insertCooling = database.prepare(
      "INSERT INTO cooling (segment, cidr, offset, freed_at, last_port) VALUES (?, ?, ?, ?, ?)",
    );
  }

  async count() {
    const of = (table: string) =>
      this.#database
        .prepare<[], number>(`SELECT count(*) FROM (SELECT 1 FROM ${table} LIMIT ${COUNT_LIMIT})`)
        .pluck()
        .get() ?? 0;
    return { networks: of("networks"), ports: of("ports"), events: of("events") };
  }

  async addNetwork({ declaration, createdAt, updatedAt, subnets: imported }: ImportedNetwork): Promise<void> {
    const { lastInsertRowid: networkId } = this.#database
      .prepare(`INSERT INTO networks (${NEW_NETWORK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
      .run(...encodeNetwork(declaration), createdAt, updatedAt);
    for (const [position, subnet] of declaration.subnets.entries()) {
      const kept = imported[position];
      if (kept) this.#addSubnet(Number(networkId), position, subnet, kept);
    }
  }

  #addSubnet(
    networkId: number,
    position: number,
    subnet: SubnetDeclaration,
    { held, outside, freed, cursors }: ImportedNetwork["subnets"][number],
  ): void {
    const { version } = subnet.cidr;
    const { lastInsertRowid: subnetId } = this.#database
      .prepare("INSERT INTO subnets (network_id, position, spec, held, outside, freed) VALUES (?, ?, ?, ?, ?, ?)")
      .run(networkId, position, encodeSubnet(subnet), held, outside, freed);
    const insertPool = this.#database.prepare(
      "INSERT INTO pools (subnet_id, first_offset, last_offset, passed) VALUES (?, ?, ?, ?)",
    );
    for (const [index, { first, last }] of subnet.ranges.entries()) {
      const passed = encodeCount((cursors[index] ?? first) - first);
      insertPool.run(subnetId, encodeOffset(version, first), encodeOffset(version, last), passed);
    }
  }

  async addPorts(ports: readonly PortRecord[], catalog: Catalog): Promise<Duplicate | undefined> {
    return firstClash(ports, port => {
      this.#insertPort.run(...encodePort(port));
      for (const { subnetId, offset } of port.fixedIps) {
        this.#insertHeld.run(subnetId, encodeOffset(catalog.subnet(subnetId).cidr.version, offset), port.key);
      }
    });
  }

  async addFreed(freed: readonly ImportedFreed[], catalog: Catalog): Promise<Duplicate | undefined> {
    return firstClash(freed, ({ subnetId, offset, pooled, ...state }) => {
      const stored = encodeOffset(catalog.subnet(subnetId).cidr.version, offset);
      this.#insertFreed.run(subnetId, stored, pooled ? 1 : 0, ...encodeFreedState(state));
    });
  }

  async addCooling(cooling: readonly CoolingAddress[]): Promise<Duplicate | undefined> {
    return firstClash(cooling, address => {
      this.#insertCooling.run(...encodeCooling(address));
    });
  }

  async addCluster(cluster: Cluster): Promise<void> {
    writeCluster(this.#database, cluster.name, cluster);
  }

  async setState({ lastSeq, nextPortKey, epochFloor }: TransferState): Promise<void> {
    this.#database
      .prepare("UPDATE store_state SET event_floor = ?, next_port_key = ?, epoch_floor = ?")
      .run(lastSeq, nextPortKey, epochFloor);
  }

  async check(catalog: Catalog): Promise<Finding[]> {
    return checkStore(this.#database, catalog);
  }
}

function firstClash<T>(items: readonly T[], insert: (item: T) => void): Duplicate | undefined {
  for (const [index, item] of items.entries()) {
    try {
      insert(item);
    } catch (error) {
      if (!(error instanceof Database.SqliteError) || !error.code.startsWith("SQLITE_CONSTRAINT")) throw error;
      return { index, what: error.message };
    }
  }
  return undefined;
}
