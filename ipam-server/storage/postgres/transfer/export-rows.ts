import type { Cluster } from "../../../contract/index.ts";
import type { Catalog, SubnetRecord } from "../../../domain/model/catalog.ts";
import type { PortRecord } from "../../../domain/model/port-record.ts";
import type { CoolingAddress, FormerSubnet } from "../../../domain/networks/cooling.ts";
import type { FreedPage, TransferSource } from "../../../domain/transfer/export-store.ts";
import type { TransferState } from "../../../domain/transfer/transfer.ts";
import { decodeCooling, decodeFormerSubnet, type StoredCooling } from "../../cooling-rows.ts";
import { decodeFreedState, FREED_STATE_COLUMNS, type FreedStateRow } from "../../freed-rows.ts";
import { decodeOffset, encodeOffset } from "../../offset-code.ts";
import { prepare, type Send } from "../database/statement.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";
import { PORT_COLUMN_LIST, type PortRow } from "../rows/port-rows.ts";
import { readClusters } from "../statements/cluster-table.ts";
import { addFixedIps } from "../statements/port-reader.ts";

/** Rows read at once, which bounds the memory. */
const PAGE = 1000;
const PORTS = prepare(`SELECT ${PORT_COLUMN_LIST} FROM ports WHERE key > $1 ORDER BY key LIMIT ${PAGE}`);
const FREED = prepare(
  `SELECT ip_offset::text, pooled, ${FREED_STATE_COLUMNS} FROM freed WHERE subnet_id = $1 AND ip_offset >= $2
   ORDER BY ip_offset LIMIT ${PAGE}`,
);
const FORMER = prepare("SELECT DISTINCT segment, cidr FROM cooling");
const COOLING = prepare(
  `SELECT ip_offset::text, freed_at, last_port FROM cooling WHERE segment = $1 AND cidr = $2 AND ip_offset >= $3
   ORDER BY ip_offset LIMIT ${PAGE}`,
);
const STATE = prepare(
  `SELECT last_seq, next_port_key, epoch_floor FROM event_counter CROSS JOIN port_keys CROSS JOIN catalog_state`,
);

type FreedRow = [offset: string, pooled: number, ...FreedStateRow];

/** Reads in one transaction, which sees one state of the database. */
export class PostgresSource implements TransferSource {
  readonly #send: Send;

  constructor(send: Send) {
    this.#send = send;
  }

  async readCatalog(): Promise<Catalog> {
    return (await loadCatalog(this.#send)).catalog;
  }

  async readPorts(afterKey: number, catalog: Catalog): Promise<readonly PortRecord[]> {
    return addFixedIps(this.#send, await this.#send<PortRow>(PORTS, afterKey), catalog);
  }

  async readFreed({ id, cidr: { version } }: SubnetRecord, fromOffset: bigint): Promise<FreedPage> {
    const rows = await this.#send<FreedRow>(FREED, id, encodeOffset(version, fromOffset));
    return rows.map(([stored, pooled, ...state]) => ({
      offset: decodeOffset(version, stored),
      pooled: pooled === 1,
      ...decodeFreedState(state),
    }));
  }

  async readFormerSubnets(): Promise<FormerSubnet[]> {
    return (await this.#send<[segment: string, cidr: string]>(FORMER)).map(decodeFormerSubnet);
  }

  async readCooling(subnet: FormerSubnet, fromOffset: bigint): Promise<CoolingAddress[]> {
    const { segment, cidr } = subnet;
    const from = encodeOffset(cidr.version, fromOffset);
    const rows = await this.#send<StoredCooling>(COOLING, segment, cidr.text, from);
    return rows.map(row => decodeCooling(subnet, row));
  }

  async readClusters(): Promise<Cluster[]> {
    return readClusters(this.#send);
  }

  async readState(): Promise<Omit<TransferState, "kind">> {
    const [row] = await this.#send<[lastSeq: number, nextPortKey: number, epochFloor: number]>(STATE);
    if (!row) throw new Error("the tables event_counter, port_keys and catalog_state have one row each");
    const [lastSeq, nextPortKey, epochFloor] = row;
    return { lastSeq, nextPortKey, epochFloor };
  }
}
