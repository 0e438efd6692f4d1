import type { Catalog, Pool } from "../../../domain/model/catalog.ts";
import { parseRecovery, type RecoveryState } from "../../../domain/recovery/recovery-state.ts";
import { buildCatalog, NETWORK_COLUMNS, type NetworkRow, SUBNET_COLUMNS, type SubnetRow } from "../../catalog-rows.ts";
import { decodeOffset } from "../../offset-code.ts";
import { prepare, type Send } from "../database/statement.ts";

const STATE = prepare("SELECT revision, epoch_floor, generation, recovery FROM catalog_state");
const NETWORKS = prepare(`SELECT ${NETWORK_COLUMNS} FROM networks`);
const SUBNETS = prepare(`SELECT ${SUBNET_COLUMNS} FROM subnets ORDER BY position`);
const POOLS = prepare(
  `SELECT id, subnet_id, first_offset::text, last_offset::text, next_offset::text FROM pools
   ORDER BY subnet_id, pools.first_offset`,
);

type PoolRow = [id: number, subnetId: number, first: string, last: string, next: string | null];

/** All networks as of one revision; counters and cursors as this replica last read them. */
export interface VersionedCatalog {
  catalog: Catalog;
  revision: number;
}

/** What every transaction reads, because another replica may have changed it; see `migrations.ts`. */
export interface CatalogState {
  revision: number;
  epochFloor: number;
  generation: number;
  recovery: RecoveryState | undefined;
}

export async function readState(send: Send): Promise<CatalogState> {
  const [row] = await send<[revision: number, epochFloor: number, generation: number, recovery: string | null]>(STATE);
  const [revision = 0, epochFloor = 0, generation = 0, recovery] = row ?? [];
  return { revision, epochFloor, generation, recovery: parseRecovery(recovery) };
}

/** Reads all networks, with their counters and cursors. Requires a transaction that sees one state of them. */
export async function loadCatalog(send: Send): Promise<VersionedCatalog> {
  const [{ revision }, networks, subnets, pools] = await Promise.all([
    readState(send),
    send<NetworkRow>(NETWORKS),
    send<SubnetRow>(SUBNETS),
    send<PoolRow>(POOLS),
  ]);
  const poolsBySubnet = Map.groupBy(pools, ([, subnetId]) => subnetId);
  const catalog = buildCatalog(networks, subnets, (id, { cidr: { version } }) =>
    (poolsBySubnet.get(id) ?? []).map(([poolId, , first, storedLast, next]): Pool => {
      const last = decodeOffset(version, storedLast);
      const cursor = next === null ? last + 1n : decodeOffset(version, next);
      return { id: poolId, first: decodeOffset(version, first), last, cursor };
    }),
  );
  return { catalog, revision };
}
