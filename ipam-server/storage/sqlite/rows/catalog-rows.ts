import type Database from "better-sqlite3";
import type { Labels, NodeLease, Segment, SubnetSpec } from "../../../contract/index.ts";
import { Catalog, type NetworkRecord, type SubnetRecord } from "../../../domain/model/catalog.ts";
import { toTimestamp } from "../../../domain/model/port-record.ts";
import { parseSubnet } from "../../../domain/networks/parse-subnet.ts";
import { decodeCount, decodeOffset } from "../../offset-code.ts";
import { parseColumn } from "./port-rows.ts";

interface NetworkRow {
  id: number;
  name: string;
  labels: string;
  vpc: string;
  availability_zone: string | null;
  segment: string;
  mtu: number;
  node_lease: string | null;
  created_at: number;
  updated_at: number;
}

interface SubnetRow {
  id: number;
  network_id: number;
  spec: string;
  held: number;
  outside: number;
  freed: number;
}

type PoolRow = [id: bigint, subnetId: bigint, first: bigint, last: bigint, passed: bigint];

/** Reads all networks, with their counters and cursors. */
export function loadCatalog(database: Database.Database): Catalog {
  const pools = Map.groupBy(
    database
      .prepare<[], PoolRow>("SELECT id, subnet_id, first_offset, last_offset, passed FROM pools ORDER BY first_offset")
      .raw()
      .safeIntegers()
      .all(),
    ([, subnetId]) => Number(subnetId),
  );
  const subnets = Map.groupBy(
    database
      .prepare<[], SubnetRow>("SELECT id, network_id, spec, held, outside, freed FROM subnets ORDER BY position")
      .all()
      .map(row => toSubnet(row, pools.get(row.id) ?? [])),
    ({ networkId }) => networkId,
  );
  const rows = database.prepare<[], NetworkRow>("SELECT * FROM networks").all();
  return new Catalog(rows.map(row => toNetwork(row, subnets.get(row.id) ?? [])));
}

function toSubnet({ id, network_id, spec, held, outside, freed }: SubnetRow, pools: readonly PoolRow[]): SubnetRecord {
  const declaration = parseSubnet(parseColumn<SubnetSpec>(spec), `subnets[${id}]`);
  const { version } = declaration.cidr;
  const ranges = pools.map(([poolId, , storedFirst, storedLast, passed]) => {
    const first = decodeOffset(version, storedFirst);
    const last = decodeOffset(version, storedLast);
    return { id: Number(poolId), first, last, cursor: first + decodeCount(passed) };
  });
  return { ...declaration, ranges, id, networkId: network_id, held, outside, freed };
}

function toNetwork(row: NetworkRow, subnets: SubnetRecord[]): NetworkRecord {
  return {
    id: row.id,
    name: row.name,
    labels: parseColumn<Labels>(row.labels),
    vpc: row.vpc,
    availabilityZone: row.availability_zone ?? undefined,
    segment: parseColumn<Segment>(row.segment),
    mtu: row.mtu,
    nodeLease: row.node_lease === null ? undefined : parseColumn<NodeLease>(row.node_lease),
    subnets,
    createdAt: toTimestamp(row.created_at),
    updatedAt: toTimestamp(row.updated_at),
  };
}
