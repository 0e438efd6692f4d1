import type Database from "better-sqlite3";
import type { NetworkManifest, Segment } from "../../../contract/index.ts";
import type { Range } from "../../../domain/model/address.ts";
import type {
  Catalog,
  NetworkDeclaration,
  Pool,
  SubnetDeclaration,
  SubnetRecord,
} from "../../../domain/model/catalog.ts";
import type { ReuseTimes } from "../../../domain/networks/cooling.ts";
import {
  findOutdatedPools,
  type NetworkChange,
  type Obstacle,
  startCursor,
} from "../../../domain/networks/plan-network-change.ts";
import { offsetShift, shiftSubnet } from "../../../domain/networks/widen-subnet.ts";
import { encodeNetwork, encodeSubnet, NEW_NETWORK_COLUMNS } from "../../catalog-rows.ts";
import { MAX_PORTS_NAMED } from "../../limits.ts";
import { ObstacleReport, planDeletion, planNetwork } from "../../network-plan.ts";
import { encodeCount, encodeOffset, splitShift } from "../../offset-code.ts";
import { Cooling } from "./cooling.ts";

/** Writes networks. The caller holds the transaction, and reloads the catalog after it. */
export class NetworkWriter {
  readonly #database: Database.Database;
  readonly #cooling: Cooling;
  readonly #count: Database.Statement<[number, bigint, bigint], number>;
  readonly #insertPool: Database.Statement<[number, bigint, bigint, bigint]>;

  constructor(database: Database.Database) {
    this.#database = database;
    this.#cooling = new Cooling(database);
    this.#count = database
      .prepare<[number, bigint, bigint], number>(
        "SELECT count(*) FROM fixed_ips WHERE subnet_id = ? AND offset BETWEEN ? AND ?",
      )
      .pluck();
    this.#insertPool = database.prepare(
      "INSERT INTO pools (subnet_id, first_offset, last_offset, passed) VALUES (?, ?, ?, ?)",
    );
  }

  /** Throws `conflict` if ports hold addresses that the network would lose. */
  put(manifest: NetworkManifest, catalog: Catalog, times: ReuseTimes): NetworkChange {
    const { declaration, old, change, failure } = planNetwork(manifest, catalog);
    if (change.outcome === "unchanged") return change;
    this.#assertNoObstacles(change.obstacles, failure);
    const networkId = this.#writeNetwork(declaration, times.now);
    for (const subnet of change.removed) this.#removeSubnet(subnet, old?.segment ?? declaration.segment, times);
    for (const { old: before, now: after, poolsChanged } of change.kept) {
      this.#database.prepare("UPDATE subnets SET spec = ? WHERE id = ?").run(encodeSubnet(after), before.id);
      this.#shiftOffsets(before.id, offsetShift(before, after));
      const adopted = this.#cooling.adopt({ id: before.id, subnet: after, segment: declaration.segment }, times);
      if (poolsChanged || adopted > 0) this.#changePools(shiftSubnet(before, after), after);
    }
    for (const subnet of change.added) this.#declareSubnet(networkId, subnet, declaration.segment, times);
    this.#orderSubnets(networkId, declaration);
    return change;
  }

  /** Derives the pools again where an earlier version derived others. */
  updatePools(catalog: Catalog): void {
    for (const { old, now } of findOutdatedPools(catalog)) this.#changePools(old, now);
  }

  /** Throws `not_found`, or `conflict` while ports hold the network's addresses. */
  delete(name: string, catalog: Catalog, times: ReuseTimes): void {
    const { network, obstacles, failure } = planDeletion(name, catalog);
    this.#assertNoObstacles(obstacles, failure);
    for (const subnet of network.subnets) this.#removeSubnet(subnet, network.segment, times);
    this.#database.prepare("DELETE FROM networks WHERE id = ?").run(network.id);
  }

  /** Inserts or updates the network's own row. Returns its id. */
  #writeNetwork(declaration: NetworkDeclaration, now: number): number {
    const id = this.#database
      .prepare(
        `INSERT INTO networks (${NEW_NETWORK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, vpc = excluded.vpc,
           availability_zone = excluded.availability_zone, segment = excluded.segment, mtu = excluded.mtu,
           node_lease = excluded.node_lease, retention = excluded.retention, updated_at = excluded.updated_at
         RETURNING id`,
      )
      .pluck()
      .get(...encodeNetwork(declaration), now, now);
    return Number(id);
  }

  #orderSubnets(networkId: number, { subnets }: NetworkDeclaration): void {
    const setPosition = this.#database.prepare(
      "UPDATE subnets SET position = ? WHERE network_id = ? AND spec ->> 'cidr' = ?",
    );
    for (const [position, { cidr }] of subnets.entries()) setPosition.run(position, networkId, cidr.text);
  }

  #assertNoObstacles(obstacles: readonly Obstacle[], failure: string): void {
    const names = this.#database
      .prepare<[number, bigint, bigint, number], string>(
        "SELECT name FROM fixed_ips JOIN ports ON ports.key = port_key WHERE subnet_id = ? AND offset BETWEEN ? AND ? LIMIT ?",
      )
      .pluck();
    const report = new ObstacleReport();
    for (const obstacle of obstacles) {
      const { subnet, ranges } = obstacle;
      for (const range of ranges) {
        const held = this.#countHeld(subnet.id, subnet, range);
        if (held > 0) report.add(obstacle, held, names.all(...boundsOf(subnet, range), MAX_PORTS_NAMED));
      }
    }
    report.assertEmpty(failure);
  }

  #countHeld(subnetId: number, { cidr: { version } }: SubnetDeclaration, { first, last }: Range): number {
    return this.#count.get(subnetId, encodeOffset(version, first), encodeOffset(version, last)) ?? 0;
  }

  #removeSubnet(subnet: SubnetRecord, segment: Segment, times: ReuseTimes): void {
    const { id } = subnet;
    this.#cooling.keep({ id, subnet, segment }, times);
    for (const table of ["freed", "pools"]) this.#database.prepare(`DELETE FROM ${table} WHERE subnet_id = ?`).run(id);
    this.#database.prepare("DELETE FROM subnets WHERE id = ?").run(id);
  }

  #declareSubnet(networkId: number, subnet: SubnetDeclaration, segment: Segment, times: ReuseTimes): void {
    const { lastInsertRowid } = this.#database
      .prepare("INSERT INTO subnets (network_id, position, spec) VALUES (?, 0, ?)")
      .run(networkId, encodeSubnet(subnet));
    const id = Number(lastInsertRowid);
    for (const range of subnet.ranges) this.#addPool(id, subnet, { ...range, cursor: range.first });
    if (this.#cooling.adopt({ id, subnet, segment }, times) > 0) this.#recount(id, subnet);
  }

  /** Of a subnet whose first address has changed. */
  #shiftOffsets(subnetId: number, shift: bigint): void {
    if (shift === 0n) return;
    for (const table of ["fixed_ips", "freed"]) {
      this.#database
        .prepare(`UPDATE ${table} SET offset = offset + ? + ? WHERE subnet_id = ?`)
        .run(...splitShift(shift), subnetId);
    }
  }

  #addPool(
    subnetId: number,
    { cidr: { version } }: SubnetDeclaration,
    { first, last, cursor }: Omit<Pool, "id">,
  ): void {
    const bounds = [encodeOffset(version, first), encodeOffset(version, last)] as const;
    this.#insertPool.run(subnetId, ...bounds, encodeCount(cursor - first));
  }

  /** Keeps held and freed addresses, and counts again which of them lie in the new pools. */
  #changePools(before: SubnetRecord, after: SubnetDeclaration): void {
    const { id } = before;
    this.#database.prepare("DELETE FROM pools WHERE subnet_id = ?").run(id);
    for (const range of after.ranges) this.#addPool(id, after, { ...range, cursor: startCursor(range, before) });
    this.#recount(id, after);
  }

  #recount(id: number, subnet: SubnetDeclaration): void {
    const { version } = subnet.cidr;
    this.#database.prepare("UPDATE freed SET pooled = 0 WHERE subnet_id = ?").run(id);
    const adopt = this.#database.prepare(
      "UPDATE freed SET pooled = 1 WHERE subnet_id = ? AND conflict_mac IS NULL AND offset BETWEEN ? AND ?",
    );
    let freed = 0;
    let inside = 0;
    for (const { first, last } of subnet.ranges) {
      freed += adopt.run(id, encodeOffset(version, first), encodeOffset(version, last)).changes;
      inside += this.#countHeld(id, subnet, { first, last });
    }
    this.#database.prepare("UPDATE subnets SET freed = ?, outside = held - ? WHERE id = ?").run(freed, inside, id);
  }
}

function boundsOf(subnet: SubnetRecord, range: Range): [subnetId: number, first: bigint, last: bigint] {
  const { version } = subnet.cidr;
  return [subnet.id, encodeOffset(version, range.first), encodeOffset(version, range.last)];
}
