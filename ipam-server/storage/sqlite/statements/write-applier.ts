import type Database from "better-sqlite3";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { HeldIp } from "../../../domain/model/port-record.ts";
import type { Writes } from "../../../domain/model/snapshot.ts";
import { encodeFreedState, FREED_STATE_COLUMNS, type FreedStateRow } from "../../freed-rows.ts";
import { MAX_UNPOOLED } from "../../limits.ts";
import { encodeCount, encodeOffset } from "../../offset-code.ts";
import { encodeMac, encodePort, PORT_COLUMNS, type PortRow } from "../rows/port-rows.ts";

/** Columns that the usual update skips to spare their indexes: only a reallocation changes MAC and network. */
const FIXED_COLUMNS: ReadonlySet<string> = new Set([
  "key",
  "id",
  "name",
  "created_at",
  "mac",
  "network_id",
  "slot_of",
  "slot",
]);
const SETTABLE_INDEXES = PORT_COLUMNS.flatMap((column, index) => (FIXED_COLUMNS.has(column) ? [] : [index]));

type Address = [subnetId: number, offset: bigint];

/** Writes a decided batch to the tables. The caller holds the transaction. */
export class WriteApplier {
  readonly #deleteHeld: Database.Statement<Address>;
  readonly #deleteFreed: Database.Statement<Address>;
  readonly #deletePort: Database.Statement<[number]>;
  readonly #updatePort: Database.Statement<unknown[]>;
  readonly #parkMac: Database.Statement<[number]>;
  readonly #movePort: Database.Statement<[number, number, number]>;
  readonly #renamePort: Database.Statement<[string, number]>;
  readonly #insertPort: Database.Statement<PortRow>;
  readonly #insertHeld: Database.Statement<[...Address, number]>;
  readonly #insertFreed: Database.Statement<[...Address, number, ...FreedStateRow]>;
  readonly #setCursor: Database.Statement<[bigint, number]>;
  readonly #setCounters: Database.Statement<[number, number, number, number]>;
  readonly #deleteUnpooled: Database.Statement<[number]>;
  readonly #setNextPortKey: Database.Statement<[number]>;

  constructor(database: Database.Database) {
    const settable = PORT_COLUMNS.filter(column => !FIXED_COLUMNS.has(column));
    const marks = PORT_COLUMNS.map(() => "?").join(", ");
    this.#deleteHeld = database.prepare("DELETE FROM fixed_ips WHERE subnet_id = ? AND offset = ?");
    this.#deleteFreed = database.prepare("DELETE FROM freed WHERE subnet_id = ? AND offset = ?");
    this.#deletePort = database.prepare("DELETE FROM ports WHERE key = ?");
    this.#updatePort = database.prepare(
      `UPDATE ports SET ${settable.map(column => `${column} = ?`).join(", ")} WHERE key = ?`,
    );
    this.#parkMac = database.prepare("UPDATE ports SET mac = -key WHERE key = ?");
    this.#movePort = database.prepare("UPDATE ports SET network_id = ?, mac = ? WHERE key = ?");
    this.#renamePort = database.prepare("UPDATE ports SET name = ? WHERE key = ?");
    this.#insertPort = database.prepare(`INSERT INTO ports (${PORT_COLUMNS.join(", ")}) VALUES (${marks})`);
    this.#insertHeld = database.prepare("INSERT INTO fixed_ips (subnet_id, offset, port_key) VALUES (?, ?, ?)");
    this.#insertFreed = database.prepare(
      `INSERT INTO freed (subnet_id, offset, pooled, ${FREED_STATE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#setCursor = database.prepare("UPDATE pools SET passed = ? WHERE id = ?");
    this.#setCounters = database.prepare("UPDATE subnets SET held = ?, outside = ?, freed = ? WHERE id = ?");
    this.#deleteUnpooled = database.prepare(
      `DELETE FROM freed WHERE (subnet_id, offset) IN
         (SELECT subnet_id, offset FROM freed WHERE pooled = 0 AND conflict_mac IS NULL AND freed_at <= ? LIMIT ${MAX_UNPOOLED})`,
    );
    this.#setNextPortKey = database.prepare("UPDATE store_state SET next_port_key = ?");
  }

  /** Deletes some freed addresses outside the pools, which no longer wait. */
  deleteUnpooled(freedBefore: number): void {
    this.#deleteUnpooled.run(freedBefore);
  }

  /** Deletes before it updates and inserts, so that one item can claim what another of the batch releases. */
  apply(writes: Writes, catalog: Catalog, failpoint: (step: string) => void): void {
    const stored = ({ subnetId, offset }: HeldIp): Address => [
      subnetId,
      encodeOffset(catalog.subnet(subnetId).cidr.version, offset),
    ];
    for (const ip of writes.deletedHeld) assertOneChanged(this.#deleteHeld.run(...stored(ip)));
    for (const ip of writes.deletedFreed) assertOneChanged(this.#deleteFreed.run(...stored(ip)));
    for (const { key } of writes.deletedPorts) assertOneChanged(this.#deletePort.run(key));
    failpoint("deleted");
    for (const port of writes.updatedPorts) {
      const row = encodePort(port);
      assertOneChanged(this.#updatePort.run(...SETTABLE_INDEXES.map(index => row[index]), port.key));
    }
    // A port may get the MAC that another one loses, so all move by way of a unique MAC.
    if (writes.movedPorts.length > 1) for (const { key } of writes.movedPorts) this.#parkMac.run(key);
    for (const { networkId, mac, key } of writes.movedPorts) this.#movePort.run(networkId, encodeMac(mac), key);
    for (const { name, key } of writes.renamedPorts) this.#renamePort.run(name, key);
    failpoint("updated");
    for (const port of writes.insertedPorts) this.#insertPort.run(...encodePort(port));
    for (const ip of writes.insertedHeld) this.#insertHeld.run(...stored(ip), ip.portKey);
    failpoint("held");
    for (const ip of writes.insertedFreed) {
      this.#insertFreed.run(...stored(ip), ip.pooled ? 1 : 0, ...encodeFreedState(ip));
    }
    for (const [pool, cursor] of writes.cursors) this.#setCursor.run(encodeCount(cursor - pool.first), pool.id);
    for (const [id, { held, outside, freed }] of writes.counters) this.#setCounters.run(held, outside, freed, id);
    if (writes.nextPortKey !== undefined) this.#setNextPortKey.run(writes.nextPortKey);
    failpoint("counted");
  }
}

/** Throws unless the row of the snapshot exists, as it must because no one else writes. */
function assertOneChanged({ changes }: Database.RunResult): void {
  if (changes !== 1) throw new Error(`a row of the snapshot is not in the database (${changes} changed)`);
}
