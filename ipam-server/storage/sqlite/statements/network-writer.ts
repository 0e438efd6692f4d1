import type Database from "better-sqlite3";
import { IpamError, type NetworkManifest } from "../../../contract/index.ts";
import type { Catalog, Pool, SubnetDeclaration, SubnetRecord } from "../../../domain/model/catalog.ts";
import {
  type NetworkChange,
  type Obstacle,
  planNetworkChange,
  startCursor,
} from "../../../domain/networks/plan-network-change.ts";
import { validateNetwork } from "../../../domain/networks/validate-network.ts";
import { encodeSubnet } from "../../catalog-rows.ts";
import { encodeCount, encodeOffset } from "../../offset-code.ts";

const MAX_PORTS_NAMED = 20;

/** Declares networks. The caller holds the transaction, and reloads the catalog after it. */
export class NetworkWriter {
  readonly #database: Database.Database;

  constructor(database: Database.Database) {
    this.#database = database;
  }

  put(manifest: NetworkManifest, catalog: Catalog, now: number): NetworkChange {
    const declaration = validateNetwork(manifest, catalog.networks);
    const old = catalog.networks.find(({ name }) => name === declaration.name);
    const change = planNetworkChange(old, declaration);
    if (change.outcome === "unchanged") return change;
    this.#refuseObstacles(change.obstacles, `network ${declaration.name} cannot be changed so`);
    const { name, labels, vpc, availabilityZone, segment, mtu, nodeLease } = declaration;
    const networkId = Number(
      this.#database
        .prepare(
          `INSERT INTO networks (name, labels, vpc, availability_zone, segment, mtu, node_lease, created_at, updated_at)
           VALUES ($name, $labels, $vpc, $zone, $segment, $mtu, $lease, $now, $now)
           ON CONFLICT (name) DO UPDATE SET labels = $labels, vpc = $vpc, availability_zone = $zone, segment = $segment,
             mtu = $mtu, node_lease = $lease, updated_at = $now RETURNING id`,
        )
        .pluck()
        .get({
          name,
          labels: JSON.stringify(labels),
          vpc,
          zone: availabilityZone ?? null,
          segment: JSON.stringify(segment),
          mtu,
          lease: nodeLease ? JSON.stringify(nodeLease) : null,
          now,
        }),
    );
    for (const subnet of change.removed) this.#removeSubnet(subnet);
    for (const { old: before, now: after, poolsChanged } of change.kept) {
      this.#database.prepare("UPDATE subnets SET spec = ? WHERE id = ?").run(encodeSubnet(after), before.id);
      if (poolsChanged) this.#changePools(before, after);
    }
    for (const subnet of change.added) this.#addSubnet(networkId, subnet);
    const setPosition = this.#database.prepare(
      "UPDATE subnets SET position = ? WHERE network_id = ? AND spec ->> 'cidr' = ?",
    );
    for (const [position, { cidr }] of declaration.subnets.entries()) setPosition.run(position, networkId, cidr.text);
    return change;
  }

  delete(name: string, catalog: Catalog): void {
    const network = catalog.networks.find(candidate => candidate.name === name);
    if (!network) throw new IpamError("not_found", `there is no network ${name}`);
    const obstacles = network.subnets.map(subnet => ({
      subnet,
      range: { first: 0n, last: subnet.cidr.count - 1n },
      why: `holds an address of subnet ${subnet.cidr.text}`,
    }));
    this.#refuseObstacles(obstacles, `network ${name} cannot be deleted`);
    for (const subnet of network.subnets) this.#removeSubnet(subnet);
    this.#database.prepare("DELETE FROM networks WHERE id = ?").run(network.id);
  }

  #refuseObstacles(obstacles: readonly Obstacle[], what: string): void {
    const count = this.#database
      .prepare<[number, bigint, bigint], number>(
        "SELECT count(*) FROM fixed_ips WHERE subnet_id = ? AND offset BETWEEN ? AND ?",
      )
      .pluck();
    const names = this.#database
      .prepare<[number, bigint, bigint, number], string>(
        "SELECT name FROM fixed_ips JOIN ports ON ports.key = port_key WHERE subnet_id = ? AND offset BETWEEN ? AND ? LIMIT ?",
      )
      .pluck();
    const ports = new Set<string>();
    const reasons = new Set<string>();
    let held = 0;
    for (const { subnet, range, why } of obstacles) {
      const { version } = subnet.cidr;
      const bounds = [subnet.id, encodeOffset(version, range.first), encodeOffset(version, range.last)] as const;
      const found = count.get(...bounds) ?? 0;
      if (found === 0) continue;
      held += found;
      reasons.add(why);
      for (const name of names.all(...bounds, MAX_PORTS_NAMED)) ports.add(name);
    }
    if (held === 0) return;
    const named = [...ports].slice(0, MAX_PORTS_NAMED);
    const addresses = held === 1 ? "1 held address is" : `${held} held addresses are`;
    throw new IpamError(
      "conflict",
      `${what}: ${addresses} in the way: port ${named[0]} ${[...reasons].join("; ")}; release and delete the ports first`,
      { ports: named },
    );
  }

  #removeSubnet({ id }: SubnetRecord): void {
    for (const table of ["freed", "pools"]) this.#database.prepare(`DELETE FROM ${table} WHERE subnet_id = ?`).run(id);
    this.#database.prepare("DELETE FROM subnets WHERE id = ?").run(id);
  }

  #addSubnet(networkId: number, subnet: SubnetDeclaration): void {
    const { lastInsertRowid } = this.#database
      .prepare("INSERT INTO subnets (network_id, position, spec) VALUES (?, 0, ?)")
      .run(networkId, encodeSubnet(subnet));
    for (const range of subnet.ranges)
      this.#insertPool(Number(lastInsertRowid), subnet, { ...range, cursor: range.first });
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

  /** Held and freed addresses stay as they are; which of them the pools have, and so the counters, is found anew. */
  #changePools(before: SubnetRecord, after: SubnetDeclaration): void {
    const { id } = before;
    const { version } = after.cidr;
    this.#database.prepare("DELETE FROM pools WHERE subnet_id = ?").run(id);
    this.#database.prepare("UPDATE freed SET pooled = 0 WHERE subnet_id = ?").run(id);
    const adopt = this.#database.prepare("UPDATE freed SET pooled = 1 WHERE subnet_id = ? AND offset BETWEEN ? AND ?");
    const count = this.#database
      .prepare<[number, bigint, bigint], number>(
        "SELECT count(*) FROM fixed_ips WHERE subnet_id = ? AND offset BETWEEN ? AND ?",
      )
      .pluck();
    let freed = 0;
    let inside = 0;
    for (const range of after.ranges) {
      this.#insertPool(id, after, { ...range, cursor: startCursor(range, before) });
      const bounds = [id, encodeOffset(version, range.first), encodeOffset(version, range.last)] as const;
      freed += adopt.run(...bounds).changes;
      inside += count.get(...bounds) ?? 0;
    }
    this.#database.prepare("UPDATE subnets SET freed = ?, outside = held - ? WHERE id = ?").run(freed, inside, id);
  }
}
