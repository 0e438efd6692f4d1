import Database from "better-sqlite3";
import { type ImportResponse, IpamError, type TransferEnd } from "../../contract/index.ts";
import type { Catalog, SubnetDeclaration } from "../../domain/catalog.ts";
import type {
  TransferFreed,
  TransferNetwork,
  TransferPort,
  TransferRow,
  TransferState,
} from "../../domain/transfer.ts";
import { TransferDigest } from "../../domain/transfer-digest.ts";
import {
  fromTransferNetwork,
  type ImportedNetwork,
  TransferOrder,
  TransferPlaces,
} from "../../domain/transfer-records.ts";
import { encodeSubnet, loadCatalog } from "./catalog-rows.ts";
import { checkStore } from "./check.ts";
import { exportRows } from "./export-rows.ts";
import { encodeCount, encodeOffset } from "./offset-code.ts";
import { encodePort, PORT_COLUMNS } from "./port-rows.ts";

type Rows = AsyncIterable<TransferRow | TransferEnd>;

/**
 * Fills an empty database: see `Store.importRows`. The transaction stays open while rows are waited for, so nobody else
 * may use the connection meanwhile.
 */
export async function importRows(database: Database.Database, rows: Rows): Promise<ImportResponse> {
  database.exec("BEGIN IMMEDIATE");
  try {
    refuseContent(database);
    const importer = new RowImporter(database);
    let end: TransferEnd | undefined;
    for await (const row of rows) {
      if (row.kind === "end") end = row;
      else importer.add(row);
    }
    const counts = importer.finish();
    const [finding, ...more] = checkStore(database, loadCatalog(database));
    if (finding) {
      const others = more.length > 0 ? ` (and ${more.length} more)` : "";
      throw new IpamError("invalid_request", `the books do not agree: ${finding.where}: ${finding.what}${others}`);
    }
    const digest = await digestOf(database);
    if (digest !== end?.digest) {
      throw new IpamError("internal", `the store reads back ${digest}, not the ${end?.digest} that came in`);
    }
    database.exec("COMMIT");
    return { ...counts, digest };
  } catch (error) {
    if (database.open && database.inTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

async function digestOf(database: Database.Database): Promise<string> {
  const digest = new TransferDigest();
  for await (const row of exportRows(database)) digest.add(row);
  return digest.end().digest;
}

function refuseContent(database: Database.Database): void {
  const count = (table: string) => database.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0;
  const [networks, ports, events] = [count("networks"), count("ports"), count("events")];
  if (networks + ports + events === 0) return;
  throw new IpamError(
    "conflict",
    `the store is not empty (networks: ${networks}, ports: ${ports}, events: ${events}); import into one that was just made: start mooring-ipam with a --database that is not there yet`,
  );
}

class RowImporter {
  readonly #database: Database.Database;
  readonly #order = new TransferOrder();
  readonly #networks: ImportedNetwork[] = [];
  readonly #insertPort: Database.Statement<unknown[]>;
  readonly #insertHeld: Database.Statement<unknown[]>;
  readonly #insertFreed: Database.Statement<unknown[]>;
  readonly #counts = { networks: 0, ports: 0, freed: 0 };
  #places: { catalog: Catalog; places: TransferPlaces } | undefined;

  constructor(database: Database.Database) {
    this.#database = database;
    const marks = PORT_COLUMNS.map(() => "?").join(", ");
    this.#insertPort = database.prepare(`INSERT INTO ports (${PORT_COLUMNS.join(", ")}) VALUES (${marks})`);
    this.#insertHeld = database.prepare("INSERT INTO fixed_ips (subnet_id, offset, port_key) VALUES (?, ?, ?)");
    this.#insertFreed = database.prepare(
      "INSERT INTO freed (subnet_id, offset, pooled, freed_at, last_port) VALUES (?, ?, ?, ?, ?)",
    );
  }

  add(row: TransferRow): void {
    this.#order.check(row);
    if (row.kind === "network") this.#addNetwork(row);
    else if (row.kind === "port") this.#addPort(row);
    else if (row.kind === "freed") this.#addFreed(row);
    else this.#setState(row);
  }

  finish(): { networks: number; ports: number; freed: number } {
    this.#order.end();
    return this.#counts;
  }

  #addNetwork(row: TransferNetwork): void {
    const network = fromTransferNetwork(
      row,
      this.#networks.map(({ declaration }) => declaration),
    );
    this.#networks.push(network);
    const { name, labels, vpc, availabilityZone, segment, mtu, nodeLease, subnets } = network.declaration;
    const { lastInsertRowid: networkId } = this.#database
      .prepare(
        `INSERT INTO networks (name, labels, vpc, availability_zone, segment, mtu, node_lease, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[name, JSON.stringify(labels), vpc, availabilityZone ?? null, JSON.stringify(segment), mtu],
        ...[nodeLease ? JSON.stringify(nodeLease) : null, network.createdAt, network.updatedAt],
      );
    for (const [position, subnet] of subnets.entries()) {
      const kept = network.subnets[position];
      if (kept) this.#addSubnet(Number(networkId), position, subnet, kept);
    }
    this.#counts.networks++;
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

  /** Networks come first, so at the first port or freed address all are there. */
  #located(): { catalog: Catalog; places: TransferPlaces } {
    if (!this.#places) {
      const catalog = loadCatalog(this.#database);
      this.#places = { catalog, places: new TransferPlaces(catalog) };
    }
    return this.#places;
  }

  #addPort(row: TransferPort): void {
    const { catalog, places } = this.#located();
    const port = places.toPort(row);
    refuseSecond(`port ${row.name}`, () => {
      this.#insertPort.run(...encodePort(port));
      for (const { subnetId, offset } of port.fixedIps) {
        this.#insertHeld.run(subnetId, encodeOffset(catalog.subnet(subnetId).cidr.version, offset), port.key);
      }
    });
    this.#counts.ports++;
  }

  #addFreed(row: TransferFreed): void {
    const { catalog, places } = this.#located();
    const { subnetId, offset, pooled, freedAt, lastPort } = places.toFreed(row);
    const stored = encodeOffset(catalog.subnet(subnetId).cidr.version, offset);
    refuseSecond(`freed address ${row.address}`, () =>
      this.#insertFreed.run(subnetId, stored, pooled ? 1 : 0, freedAt, lastPort),
    );
    this.#counts.freed++;
  }

  #setState({ lastSeq, nextPortKey, epochFloor }: TransferState): void {
    this.#database
      .prepare("UPDATE store_state SET event_floor = ?, next_port_key = ?, epoch_floor = ?")
      .run(lastSeq, nextPortKey, epochFloor);
  }
}

/** The tables' own referees judge what two rows may not both have. */
function refuseSecond(what: string, insert: () => void): void {
  try {
    insert();
  } catch (error) {
    if (!(error instanceof Database.SqliteError) || !error.code.startsWith("SQLITE_CONSTRAINT")) throw error;
    const message = `${what} has what a row before it has (${error.message})`;
    throw new IpamError("invalid_request", message, { cause: error });
  }
}
