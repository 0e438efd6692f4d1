import type { Cluster } from "../../../contract/index.ts";
import { CLUSTER_COLUMNS, type ClusterRow, decodeCluster, encodeCluster } from "../../cluster-rows.ts";
import { prepare, type Send } from "../database/statement.ts";

const READ = prepare(`SELECT ${CLUSTER_COLUMNS} FROM clusters ORDER BY name`);
const WRITE = prepare(
  `INSERT INTO clusters (${CLUSTER_COLUMNS}) VALUES ($1, $2, $3, $4)
   ON CONFLICT (name) DO UPDATE SET uid = excluded.uid, held_pass = excluded.held_pass`,
);
const DELETE = prepare("DELETE FROM clusters WHERE name = $1");

/** By name. */
export async function readClusters(send: Send): Promise<Cluster[]> {
  return (await send<ClusterRow>(READ)).map(decodeCluster);
}

/** Stores the cluster, or deletes it if `after` is undefined. */
export async function writeCluster(send: Send, name: string, after: Cluster | undefined): Promise<void> {
  if (after) await send(WRITE, ...encodeCluster(after));
  else await send(DELETE, name);
}
