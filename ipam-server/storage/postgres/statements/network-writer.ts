import type { NetworkManifest, Segment } from "../../../contract/index.ts";
import type { Catalog, NetworkDeclaration, SubnetDeclaration, SubnetRecord } from "../../../domain/model/catalog.ts";
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
import { encodeOffset, splitShift } from "../../offset-code.ts";
import { toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";
import { adoptCooling, keepCooling } from "./cooling.ts";

/** One statement over all ranges: no claim is decided meanwhile. */
const COUNT = prepare(
  `SELECT coalesce(sum(held), 0)::bigint FROM unnest($2::bigint[], $3::bigint[]) AS w (first, last) CROSS JOIN LATERAL (
     SELECT count(*) AS held FROM fixed_ips WHERE subnet_id = $1 AND ip_offset BETWEEN w.first AND w.last) AS t`,
);
const NAMES = prepare(
  `SELECT name FROM unnest($2::bigint[], $3::bigint[]) AS w (first, last) CROSS JOIN LATERAL (
     SELECT ip_offset, name FROM fixed_ips JOIN ports ON key = port_key
     WHERE subnet_id = $1 AND ip_offset BETWEEN w.first AND w.last ORDER BY ip_offset LIMIT $4::int) AS t
   ORDER BY ip_offset LIMIT $4::int`,
);
const PUT = prepare(
  `INSERT INTO networks AS t (${NEW_NETWORK_COLUMNS})
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
   ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, vpc = excluded.vpc,
     availability_zone = excluded.availability_zone, segment = excluded.segment, mtu = excluded.mtu,
     node_lease = excluded.node_lease, retention = excluded.retention, updated_at = excluded.updated_at
   RETURNING id`,
);
const DELETE_NETWORK = prepare("DELETE FROM networks WHERE id = $1");
const DELETE_FREED = prepare("DELETE FROM freed WHERE subnet_id = $1");
const DELETE_POOLS = prepare("DELETE FROM pools WHERE subnet_id = $1");
const DELETE_SUBNET = prepare("DELETE FROM subnets WHERE id = $1");
const INSERT_SUBNET = prepare(
  "INSERT INTO subnets (network_id, position, cidr, spec) VALUES ($1, 0, $2, $3) RETURNING id",
);
const SET_SPEC = prepare("UPDATE subnets SET cidr = $2, spec = $3 WHERE id = $1");
const SET_POSITIONS = prepare(
  `UPDATE subnets SET position = w.position
   FROM unnest($2::text[]) WITH ORDINALITY AS w (cidr, position) WHERE network_id = $1 AND subnets.cidr = w.cidr`,
);
const INSERT_POOLS = prepare(
  `INSERT INTO pools (subnet_id, first_offset, last_offset, next_offset)
   SELECT $1::int, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[])`,
);
const DISOWN = prepare("UPDATE freed SET pooled = 0 WHERE subnet_id = $1");
const ADOPT = prepare(
  `UPDATE freed AS t SET pooled = 1 FROM pools AS p
   WHERE p.subnet_id = $1 AND t.subnet_id = $1 AND t.conflict_mac IS NULL AND t.ip_offset BETWEEN p.first_offset AND p.last_offset`,
);
const RECOUNT = prepare(
  `UPDATE subnets SET freed = (SELECT count(*) FROM freed WHERE subnet_id = $1 AND pooled = 1),
     outside = held - (SELECT count(*) FROM pools AS p JOIN fixed_ips AS t
       ON t.subnet_id = $1 AND t.ip_offset BETWEEN p.first_offset AND p.last_offset WHERE p.subnet_id = $1)
   WHERE id = $1`,
);
/** Addresses move by a multiple of the subnet's old size, so no two rows meet. */
const SHIFT = [
  prepare("UPDATE fixed_ips SET ip_offset = ip_offset + $2::bigint + $3::bigint WHERE subnet_id = $1"),
  prepare("UPDATE freed SET ip_offset = ip_offset + $2::bigint + $3::bigint WHERE subnet_id = $1"),
] as const;

/**
 * Declares a network. The caller holds the transaction and the lock under which no other replica decides, and increments
 * the revision. Rejects with `conflict` if ports hold addresses that the network would lose.
 */
export async function putNetwork(
  send: Send,
  manifest: NetworkManifest,
  catalog: Catalog,
  times: ReuseTimes,
): Promise<NetworkChange> {
  const { declaration, old, change, failure } = planNetwork(manifest, catalog);
  if (change.outcome === "unchanged") return change;
  await assertNoObstacles(send, change.obstacles, failure);
  const { segment } = declaration;
  const networkId = await writeNetwork(send, declaration, times.now);
  for (const subnet of change.removed) await removeSubnet(send, subnet, old?.segment ?? segment, times);
  for (const { old: before, now: after, poolsChanged } of change.kept) {
    await send(SET_SPEC, before.id, after.cidr.text, encodeSubnet(after));
    const shift = offsetShift(before, after);
    if (shift !== 0n) for (const statement of SHIFT) await send(statement, before.id, ...splitShift(shift));
    const adopted = await adoptCooling(send, { id: before.id, subnet: after, segment }, times);
    if (poolsChanged || adopted > 0) await changePools(send, shiftSubnet(before, after), after);
  }
  for (const subnet of change.added) {
    const id = await addSubnet(send, networkId, subnet, ({ first }) => first);
    if ((await adoptCooling(send, { id, subnet, segment }, times)) > 0) await recount(send, id);
  }
  await orderSubnets(send, networkId, declaration);
  return change;
}

/** Derives the pools again where an earlier version derived others. The caller is as of `putNetwork`. */
export async function updatePools(send: Send, catalog: Catalog): Promise<void> {
  for (const { old, now } of findOutdatedPools(catalog)) await changePools(send, old, now);
}

/** Inserts or updates the network's own row. Resolves to its id. */
export async function writeNetwork(send: Send, declaration: NetworkDeclaration, now: number): Promise<number> {
  const [row] = await send<[id: number]>(PUT, ...encodeNetwork(declaration), now);
  return row?.[0] ?? 0;
}

export async function orderSubnets(send: Send, networkId: number, { subnets }: NetworkDeclaration): Promise<void> {
  await send(SET_POSITIONS, networkId, toArray(subnets.map(({ cidr }) => cidr.text)));
}

/** Rejects with `not_found`, or `conflict` while ports hold the network's addresses. */
export async function deleteNetwork(send: Send, name: string, catalog: Catalog, times: ReuseTimes): Promise<void> {
  const { network, obstacles, failure } = planDeletion(name, catalog);
  await assertNoObstacles(send, obstacles, failure);
  for (const subnet of network.subnets) await removeSubnet(send, subnet, network.segment, times);
  await send(DELETE_NETWORK, network.id);
}

async function assertNoObstacles(send: Send, obstacles: readonly Obstacle[], failure: string): Promise<void> {
  const report = new ObstacleReport();
  for (const obstacle of obstacles) {
    const { subnet, ranges } = obstacle;
    const encode = (offset: bigint) => encodeOffset(subnet.cidr.version, offset);
    const firsts = ranges.map(({ first }) => encode(first));
    const lasts = ranges.map(({ last }) => encode(last));
    const bounds = [subnet.id, toArray(firsts), toArray(lasts)] as const;
    const [row] = await send<[count: number]>(COUNT, ...bounds);
    const held = row?.[0] ?? 0;
    if (held === 0) continue;
    const names = await send<[name: string]>(NAMES, ...bounds, MAX_PORTS_NAMED);
    report.add(
      obstacle,
      held,
      names.map(([name]) => name),
    );
  }
  report.assertEmpty(failure);
}

async function removeSubnet(send: Send, subnet: SubnetRecord, segment: Segment, times: ReuseTimes): Promise<void> {
  const { id } = subnet;
  await keepCooling(send, { id, subnet, segment }, times);
  await send(DELETE_FREED, id);
  await send(DELETE_POOLS, id);
  await send(DELETE_SUBNET, id);
}

type CursorOf = (range: SubnetDeclaration["ranges"][number], index: number) => bigint;

/** Resolves to the new row's id. */
export async function addSubnet(
  send: Send,
  networkId: number,
  subnet: SubnetDeclaration,
  cursorOf: CursorOf,
): Promise<number> {
  const [row] = await send<[id: number]>(INSERT_SUBNET, networkId, subnet.cidr.text, encodeSubnet(subnet));
  const id = row?.[0] ?? 0;
  await insertPools(send, id, subnet, cursorOf);
  return id;
}

async function insertPools(
  send: Send,
  subnetId: number,
  { cidr: { version }, ranges }: SubnetDeclaration,
  cursorOf: CursorOf,
): Promise<void> {
  const encode = (offset: bigint) => encodeOffset(version, offset);
  const cursors = ranges.map((range, index) => {
    const cursor = cursorOf(range, index);
    return cursor > range.last ? null : encode(cursor);
  });
  const firsts = ranges.map(({ first }) => encode(first));
  await send(
    INSERT_POOLS,
    subnetId,
    toArray(firsts),
    toArray(ranges.map(({ last }) => encode(last))),
    toArray(cursors),
  );
}

/** Keeps held and freed addresses, and counts again which of them lie in the new pools. */
async function changePools(send: Send, before: SubnetRecord, after: SubnetDeclaration): Promise<void> {
  await send(DELETE_POOLS, before.id);
  await insertPools(send, before.id, after, range => startCursor(range, before));
  await recount(send, before.id);
}

async function recount(send: Send, id: number): Promise<void> {
  await send(DISOWN, id);
  await send(ADOPT, id);
  await send(RECOUNT, id);
}
