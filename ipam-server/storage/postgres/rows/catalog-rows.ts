import type { Labels, NodeLease, Segment, SubnetSpec } from "../../../contract/index.ts";
import { Catalog, type NetworkRecord, type Pool, type SubnetRecord } from "../../../domain/model/catalog.ts";
import { toTimestamp } from "../../../domain/model/port-record.ts";
import { parseSubnet } from "../../../domain/networks/parse-subnet.ts";
import { prepare, type Send } from "../database/statement.ts";
import { decodeOffset } from "./offset-code.ts";
import { parseColumn } from "./port-rows.ts";

const STATE = prepare("SELECT revision, epoch_floor, generation FROM catalog_state");
const NETWORKS = prepare(
  "SELECT id, name, labels, vpc, availability_zone, segment, mtu, node_lease, created_at, updated_at FROM networks",
);
const SUBNETS = prepare("SELECT id, network_id, spec, held, outside, freed FROM subnets ORDER BY position");
const POOLS = prepare(
  `SELECT id, subnet_id, first_offset::text, last_offset::text, next_offset::text FROM pools
   ORDER BY subnet_id, pools.first_offset`,
);

type NetworkRow = [
  id: number,
  name: string,
  labels: string,
  vpc: string,
  availabilityZone: string | null,
  segment: string,
  mtu: number,
  nodeLease: string | null,
  createdAt: number,
  updatedAt: number,
];
type SubnetRow = [id: number, networkId: number, spec: string, held: number, outside: number, freed: number];
type PoolRow = [id: number, subnetId: number, first: string, last: string, next: string | null];

/** All networks as they were at one revision; counters and cursors as this replica saw them last. */
export interface VersionedCatalog {
  catalog: Catalog;
  revision: number;
}

/** What all replicas must know anew in each transaction; see `migrations.ts`. */
export interface CatalogState {
  revision: number;
  epochFloor: number;
  generation: number;
}

export async function readState(send: Send): Promise<CatalogState> {
  const [row] = await send<[revision: number, epochFloor: number, generation: number]>(STATE);
  const [revision = 0, epochFloor = 0, generation = 0] = row ?? [];
  return { revision, epochFloor, generation };
}

/** Reads all networks, with their counters and cursors; in one transaction that sees one state of them. */
export async function loadCatalog(send: Send): Promise<VersionedCatalog> {
  const [{ revision }, networks, subnets, pools] = await Promise.all([
    readState(send),
    send<NetworkRow>(NETWORKS),
    send<SubnetRow>(SUBNETS),
    send<PoolRow>(POOLS),
  ]);
  const poolsBySubnet = Map.groupBy(pools, ([, subnetId]) => subnetId);
  const records = subnets.map(row => toSubnet(row, poolsBySubnet.get(row[0]) ?? []));
  const byNetwork = Map.groupBy(records, ({ networkId }) => networkId);
  const catalog = new Catalog(networks.map(row => toNetwork(row, byNetwork.get(row[0]) ?? [])));
  return { catalog, revision };
}

function toSubnet([id, networkId, spec, held, outside, freed]: SubnetRow, pools: readonly PoolRow[]): SubnetRecord {
  const declaration = parseSubnet(parseColumn<SubnetSpec>(spec), `subnets[${id}]`);
  const { version } = declaration.cidr;
  const ranges = pools.map(([poolId, , storedFirst, storedLast, next]): Pool => {
    const first = decodeOffset(version, storedFirst);
    const last = decodeOffset(version, storedLast);
    return { id: poolId, first, last, cursor: next === null ? last + 1n : decodeOffset(version, next) };
  });
  return { ...declaration, ranges, id, networkId, held, outside, freed };
}

function toNetwork(row: NetworkRow, subnets: SubnetRecord[]): NetworkRecord {
  const [id, name, labels, vpc, availabilityZone, segment, mtu, nodeLease, createdAt, updatedAt] = row;
  return {
    id,
    name,
    labels: parseColumn<Labels>(labels),
    vpc,
    availabilityZone: availabilityZone ?? undefined,
    segment: parseColumn<Segment>(segment),
    mtu,
    nodeLease: nodeLease === null ? undefined : parseColumn<NodeLease>(nodeLease),
    subnets,
    createdAt: toTimestamp(createdAt),
    updatedAt: toTimestamp(updatedAt),
  };
}
