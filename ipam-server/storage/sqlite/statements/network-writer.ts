import type Database from "better-sqlite3";
import type { NetworkManifest } from "../../../contract/index.ts";
import type {
  Catalog,
  NetworkDeclaration,
  Pool,
  SubnetDeclaration,
  SubnetRecord,
} from "../../../domain/model/catalog.ts";
import {
  findOutdatedPools,
  type NetworkChange,
  type Obstacle,
  startCursor,
} from "../../../domain/networks/plan-network-change.ts";
import { encodeNetwork, encodeSubnet, NEW_NETWORK_COLUMNS } from "../../catalog-rows.ts";
import { MAX_PORTS_NAMED } from "../../limits.ts";
import { ObstacleReport, planDeletion, planNetwork } from "../../network-plan.ts";
import { encodeCount, encodeOffset } from "../../offset-code.ts";

/** Writes networks. The caller holds the transaction, and reloads the catalog after it. */
export class NetworkWriter {
  readonly #database: Database.Database;

  constructor(database: Database.Database) {
    this.#database = database;
  }

  /** Throws `conflict` if ports hold addresses that the network would lose. */
  put(manifest: NetworkManifest, catalog: Catalog, now: number): NetworkChange {
    const { declaration, change, failure } = planNetwork(manifest, catalog);
    if (change.outcome === "unchanged") return change;
    this.#assertNoObstacles(change.obstacles, failure);
    const networkId = this.#writeNetwork(declaration, now);
    for (const subnet of change.removed) this.#removeSubnet(subnet);
    for (const { old: before, now: after, poolsChanged } of change.kept) {
      this.#database.prepare("UPDATE subnets SET spec = ? WHERE id = ?").run(encodeSubnet(after), before.id);
      if (poolsChanged) this.#changePools(before, after);
    }
    for (const subnet of change.added) this.#addSubnet(networkId, subnet);
    this.#orderSubnets(networkId, declaration);
    return change;
  }

  /** Derives the pools again where an earlier version derived others. */
  updatePools(catalog: Catalog): void {
    for (const { old, now } of findOutdatedPools(catalog)) this.#changePools(old, now);
  }

  /** Throws `not_found`, or `conflict` while ports hold the network's addresses. */
  delete(name: string, catalog: Catalog): void {
    const { network, obstacles, failure } = planDeletion(name, catalog);
    this.#assertNoObstacles(obstacles, failure);
    for (const subnet of network.subnets) this.#removeSubnet(subnet);
    this.#database.prepare("DELETE FROM networks WHERE id = ?").run(network.id);
  }

  /** Inserts or updates the network's own row. Returns its id. */
  #writeNetwork(declaration: NetworkDeclaration, now: number): number {
    const id = this.#database
      .prepare(
        `INSERT INTO networks (${NEW_NETWORK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, vpc = excluded.vpc,
           availability_zone = excluded.availability_zone, segment = excluded.segment, mtu = excluded.mtu,
           node_lease = excluded.node_lease, updated_at = excluded.updated_at
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
      const held = this.#countHeld(obstacle.subnet.id, obstacle.subnet, obstacle.range);
      if (held > 0) report.add(obstacle, held, names.all(...boundsOf(obstacle), MAX_PORTS_NAMED));
    }
    report.assertEmpty(failure);
  }

  #countHeld(subnetId: number, subnet: SubnetDeclaration, range: Obstacle["range"]): number {
    const count = this.#database
      .prepare<[number, bigint, bigint], number>(
        "SELECT count(*) FROM fixed_ips WHERE subnet_id = ? AND offset BETWEEN ? AND ?",
      )
      .pluck();
    const { version } = subnet.cidr;
    return count.get(subnetId, encodeOffset(version, range.first), encodeOffset(version, range.last)) ?? 0;
  }

  #removeSubnet({ id }: SubnetRecord): void {
    for (const table of ["freed", "pools"]) this.#database.prepare(`DELETE FROM ${table} WHERE subnet_id = ?`).run(id);
    this.#database.prepare("DELETE FROM subnets WHERE id = ?").run(id);
  }

  #addSubnet(networkId: number, subnet: SubnetDeclaration): void {
    const { lastInsertRowid } = this.#database
      .prepare("INSERT INTO subnets (network_id, position, spec) VALUES (?, 0, ?)")
      .run(networkId, encodeSubnet(subnet));
    for (const range of subnet.ranges) {
      this.#insertPool(Number(lastInsertRowid), subnet, { ...range, cursor: range.first });
    }
  }

  #insertPool(
    subnetId: number,
    { cidr: { version } }: SubnetDeclaration,
    { first, last, cursor }: Omit<Pool, "id">,
  ): void {
    this.#database
      .prepare("INSERT INTO pools (subnet_id, first_offset, last_offset, passed) VALUES (?, ?, ?, ?)")
      .run(subnetId, encodeOffset(version, first), encodeOffset(version, last), encodeCount(cursor - first));
  }

  /** Keeps held and freed addresses, and counts again which of them lie in the new pools. */
  #changePools(before: SubnetRecord, after: SubnetDeclaration): void {
    const { id } = before;
    const { version } = after.cidr;
    this.#database.prepare("DELETE FROM pools WHERE subnet_id = ?").run(id);
    this.#database.prepare("UPDATE freed SET pooled = 0 WHERE subnet_id = ?").run(id);
    const adopt = this.#database.prepare("UPDATE freed SET pooled = 1 WHERE subnet_id = ? AND offset BETWEEN ? AND ?");
    let freed = 0;
    let inside = 0;
    for (const range of after.ranges) {
      this.#insertPool(id, after, { ...range, cursor: startCursor(range, before) });
      freed += adopt.run(id, encodeOffset(version, range.first), encodeOffset(version, range.last)).changes;
      inside += this.#countHeld(id, after, range);
    }
    this.#database.prepare("UPDATE subnets SET freed = ?, outside = held - ? WHERE id = ?").run(freed, inside, id);
  }
}

function boundsOf({ subnet, range }: Obstacle): [subnetId: number, first: bigint, last: bigint] {
  const { version } = subnet.cidr;
  return [subnet.id, encodeOffset(version, range.first), encodeOffset(version, range.last)];
}
