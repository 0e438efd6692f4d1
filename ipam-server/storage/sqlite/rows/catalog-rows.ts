import type Database from "better-sqlite3";
import type { Catalog, Pool } from "../../../domain/model/catalog.ts";
import { buildCatalog, NETWORK_COLUMNS, type NetworkRow, SUBNET_COLUMNS, type SubnetRow } from "../../catalog-rows.ts";
import { decodeCount, decodeOffset } from "../../offset-code.ts";

type PoolRow = [id: bigint, subnetId: bigint, first: bigint, last: bigint, passed: bigint];

/** Reads all networks, with their counters and cursors. */
export function loadCatalog(database: Database.Database): Catalog {
  const pools = database
    .prepare<[], PoolRow>("SELECT id, subnet_id, first_offset, last_offset, passed FROM pools ORDER BY first_offset")
    .raw()
    .safeIntegers()
    .all();
  const poolsBySubnet = Map.groupBy(pools, ([, subnetId]) => Number(subnetId));
  const subnets = database
    .prepare<[], SubnetRow>(`SELECT ${SUBNET_COLUMNS} FROM subnets ORDER BY position`)
    .raw()
    .all();
  const networks = database.prepare<[], NetworkRow>(`SELECT ${NETWORK_COLUMNS} FROM networks`).raw().all();
  return buildCatalog(networks, subnets, (subnetId, { cidr: { version } }) =>
    (poolsBySubnet.get(subnetId) ?? []).map(([id, , storedFirst, last, passed]): Pool => {
      const first = decodeOffset(version, storedFirst);
      return { id: Number(id), first, last: decodeOffset(version, last), cursor: first + decodeCount(passed) };
    }),
  );
}
