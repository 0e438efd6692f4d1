import { IpamError, type NetworkManifest } from "../../../contract/index.ts";
import type { Catalog, NetworkDeclaration, SubnetDeclaration, SubnetRecord } from "../../../domain/model/catalog.ts";
import {
  type NetworkChange,
  type Obstacle,
  planNetworkChange,
  startCursor,
} from "../../../domain/networks/plan-network-change.ts";
import { validateNetwork } from "../../../domain/networks/validate-network.ts";
import { encodeSubnet } from "../../catalog-rows.ts";
import { toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";
import { encodeOffset } from "../rows/offset-code.ts";

const MAX_PORTS_NAMED = 20;

const COUNT = prepare("SELECT count(*) FROM fixed_ips WHERE subnet_id = $1 AND ip_offset BETWEEN $2 AND $3");
const NAMES = prepare(
  `SELECT name FROM fixed_ips JOIN ports ON key = port_key
   WHERE subnet_id = $1 AND ip_offset BETWEEN $2 AND $3 ORDER BY ip_offset LIMIT $4::int`,
);
const PUT = prepare(
  `INSERT INTO networks AS t (name, labels, vpc, availability_zone, segment, mtu, node_lease, created_at, updated_at)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
   ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, vpc = excluded.vpc,
     availability_zone = excluded.availability_zone, segment = excluded.segment, mtu = excluded.mtu,
     node_lease = excluded.node_lease, updated_at = excluded.updated_at
   RETURNING id`,
);
const DELETE_NETWORK = prepare("DELETE FROM networks WHERE id = $1");
const DELETE_FREED = prepare("DELETE FROM freed WHERE subnet_id = $1");
const DELETE_POOLS = prepare("DELETE FROM pools WHERE subnet_id = $1");
const DELETE_SUBNET = prepare("DELETE FROM subnets WHERE id = $1");
const INSERT_SUBNET = prepare(
  "INSERT INTO subnets (network_id, position, cidr, spec) VALUES ($1, 0, $2, $3) RETURNING id",
);
const SET_SPEC = prepare("UPDATE subnets SET spec = $2 WHERE id = $1");
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
   WHERE p.subnet_id = $1 AND t.subnet_id = $1 AND t.ip_offset BETWEEN p.first_offset AND p.last_offset`,
);
const RECOUNT = prepare(
  `UPDATE subnets SET freed = (SELECT count(*) FROM freed WHERE subnet_id = $1 AND pooled = 1),
     outside = held - (SELECT count(*) FROM pools AS p JOIN fixed_ips AS t
       ON t.subnet_id = $1 AND t.ip_offset BETWEEN p.first_offset AND p.last_offset WHERE p.subnet_id = $1)
   WHERE id = $1`,
);

/** Declares a network. The caller holds the transaction, in which nobody else decides anything, and counts the revision on. */
export async function putNetwork(
  send: Send,
  manifest: NetworkManifest,
  catalog: Catalog,
  now: number,
): Promise<NetworkChange> {
  const declaration = validateNetwork(manifest, catalog.networks);
  const old = catalog.networks.find(({ name }) => name === declaration.name);
  const change = planNetworkChange(old, declaration);
  if (change.outcome === "unchanged") return change;
  await assertNoObstacles(send, change.obstacles, `network ${declaration.name} cannot be changed so`);
  const networkId = await writeNetwork(send, declaration, now);
  for (const subnet of change.removed) await removeSubnet(send, subnet);
  for (const { old: before, now: after, poolsChanged } of change.kept) {
    await send(SET_SPEC, before.id, encodeSubnet(after));
    if (poolsChanged) await changePools(send, before, after);
  }
  for (const subnet of change.added) await addSubnet(send, networkId, subnet, ({ first }) => first);
  await orderSubnets(send, networkId, declaration);
  return change;
}

/** Makes the network's own row, or changes it; answers its id. */
export async function writeNetwork(send: Send, declaration: NetworkDeclaration, now: number): Promise<number> {
  const { name, labels, vpc, availabilityZone, segment, mtu, nodeLease } = declaration;
  const fields = [
    name,
    JSON.stringify(labels),
    vpc,
    availabilityZone ?? null,
    JSON.stringify(segment),
    mtu,
    nodeLease ? JSON.stringify(nodeLease) : null,
    now,
  ];
  const [row] = await send<[id: number]>(PUT, ...fields);
  return row?.[0] ?? 0;
}

export async function orderSubnets(send: Send, networkId: number, { subnets }: NetworkDeclaration): Promise<void> {
  await send(SET_POSITIONS, networkId, toArray(subnets.map(({ cidr }) => cidr.text)));
}

export async function deleteNetwork(send: Send, name: string, catalog: Catalog): Promise<void> {
  const network = catalog.networks.find(candidate => candidate.name === name);
  if (!network) throw new IpamError("not_found", `there is no network ${name}`);
  const obstacles = network.subnets.map(subnet => ({
    subnet,
    range: { first: 0n, last: subnet.cidr.count - 1n },
    why: `holds an address of subnet ${subnet.cidr.text}`,
  }));
  await assertNoObstacles(send, obstacles, `network ${name} cannot be deleted`);
  for (const subnet of network.subnets) await removeSubnet(send, subnet);
  await send(DELETE_NETWORK, network.id);
}

async function assertNoObstacles(send: Send, obstacles: readonly Obstacle[], what: string): Promise<void> {
  const ports = new Set<string>();
  const reasons = new Set<string>();
  let held = 0;
  for (const { subnet, range, why } of obstacles) {
    const { version } = subnet.cidr;
    const bounds = [subnet.id, encodeOffset(version, range.first), encodeOffset(version, range.last)] as const;
    const [row] = await send<[count: number]>(COUNT, ...bounds);
    const found = row?.[0] ?? 0;
    if (found === 0) continue;
    held += found;
    reasons.add(why);
    for (const [name] of await send<[name: string]>(NAMES, ...bounds, MAX_PORTS_NAMED)) ports.add(name);
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

async function removeSubnet(send: Send, { id }: SubnetRecord): Promise<void> {
  await send(DELETE_FREED, id);
  await send(DELETE_POOLS, id);
  await send(DELETE_SUBNET, id);
}

type CursorOf = (range: SubnetDeclaration["ranges"][number], index: number) => bigint;

/** Answers the new row's id. */
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

/** Held and freed addresses stay as they are; which of them the pools have, and so the counters, is found anew. */
async function changePools(send: Send, before: SubnetRecord, after: SubnetDeclaration): Promise<void> {
  await send(DELETE_POOLS, before.id);
  await insertPools(send, before.id, after, range => startCursor(range, before));
  await send(DISOWN, before.id);
  await send(ADOPT, before.id);
  await send(RECOUNT, before.id);
}
