import { setImmediate as nextTurn } from "node:timers/promises";
import type Database from "better-sqlite3";
import type { Cluster } from "../../../contract/index.ts";
import type { Catalog, SubnetRecord } from "../../../domain/model/catalog.ts";
import type { PortRecord } from "../../../domain/model/port-record.ts";
import type { CoolingAddress, FormerSubnet } from "../../../domain/networks/cooling.ts";
import type { FreedPage, TransferSource } from "../../../domain/transfer/export-store.ts";
import type { TransferState } from "../../../domain/transfer/transfer.ts";
import { decodeCooling, decodeFormerSubnet, type StoredCooling } from "../../cooling-rows.ts";
import { decodeFreedState, FREED_STATE_COLUMNS, type FreedStateRow } from "../../freed-rows.ts";
import { decodeOffset, encodeOffset } from "../../offset-code.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { PORT_COLUMNS, type PortRow } from "../rows/port-rows.ts";
import { readClusters } from "../statements/cluster-table.ts";
import { SnapshotLoader } from "../statements/snapshot-loader.ts";

/** Rows read at once, in a few milliseconds, so that claims run in between. */
const PAGE = 200;

type FreedRow = [offset: string, pooled: number, ...FreedStateRow];

/** Reads a database that nothing changes meanwhile. */
export class SqliteSource implements TransferSource {
  readonly #database: Database.Database;
  readonly #loader: SnapshotLoader;
  readonly #ports: Database.Statement<[number], PortRow>;
  readonly #cooling: Database.Statement<[string, string, bigint], StoredCooling>;
  readonly #freed: Database.Statement<[number, bigint], FreedRow>;

  constructor(database: Database.Database) {
    this.#database = database;
    this.#loader = new SnapshotLoader(database);
    this.#ports = database
      .prepare<[number], PortRow>(
        `SELECT ${PORT_COLUMNS.join(", ")} FROM ports WHERE key > ? ORDER BY key LIMIT ${PAGE}`,
      )
      .raw();
    this.#freed = database
      .prepare<[number, bigint], FreedRow>(
        `SELECT CAST(offset AS TEXT), pooled, ${FREED_STATE_COLUMNS} FROM freed WHERE subnet_id = ? AND offset >= ?
         ORDER BY offset LIMIT ${PAGE}`,
      )
      .raw();
    this.#cooling = database
      .prepare<[string, string, bigint], StoredCooling>(
        `SELECT CAST(offset AS TEXT), freed_at, last_port FROM cooling WHERE segment = ? AND cidr = ? AND offset >= ?
         ORDER BY offset LIMIT ${PAGE}`,
      )
      .raw();
  }

  async readCatalog(): Promise<Catalog> {
    return loadCatalog(this.#database);
  }

  async readPorts(afterKey: number, catalog: Catalog): Promise<readonly PortRecord[]> {
    await nextTurn();
    return this.#loader.withFixedIps(this.#ports.all(afterKey), catalog);
  }

  async readFreed({ id, cidr: { version } }: SubnetRecord, fromOffset: bigint): Promise<FreedPage> {
    await nextTurn();
    return this.#freed.all(id, encodeOffset(version, fromOffset)).map(([stored, pooled, ...state]) => ({
      offset: decodeOffset(version, stored),
      pooled: pooled === 1,
      ...decodeFreedState(state),
    }));
  }

  async readFormerSubnets(): Promise<FormerSubnet[]> {
    const former = this.#database.prepare<[], [segment: string, cidr: string]>(
      "SELECT DISTINCT segment, cidr FROM cooling",
    );
    return former.raw().all().map(decodeFormerSubnet);
  }

  async readCooling(subnet: FormerSubnet, fromOffset: bigint): Promise<CoolingAddress[]> {
    await nextTurn();
    const { segment, cidr } = subnet;
    const rows = this.#cooling.all(segment, cidr.text, encodeOffset(cidr.version, fromOffset));
    return rows.map(row => decodeCooling(subnet, row));
  }

  async readClusters(): Promise<Cluster[]> {
    return readClusters(this.#database);
  }

  async readState(): Promise<Omit<TransferState, "kind">> {
    const state = this.#database
      .prepare<[], Omit<TransferState, "kind">>(
        `SELECT max(event_floor, coalesce((SELECT max(seq) FROM events), 0)) AS lastSeq, next_port_key AS nextPortKey,
           epoch_floor AS epochFloor FROM store_state`,
      )
      .get();
    if (!state) throw new Error("the database has no state row");
    return state;
  }
}
