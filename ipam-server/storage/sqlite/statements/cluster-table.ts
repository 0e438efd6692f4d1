import type Database from "better-sqlite3";
import type { Cluster } from "../../../contract/index.ts";
import { CLUSTER_COLUMNS, type ClusterRow, decodeCluster, encodeCluster } from "../../cluster-rows.ts";

/** By name. */
export function readClusters(database: Database.Database): Cluster[] {
  return database
    .prepare<[], ClusterRow>(`SELECT ${CLUSTER_COLUMNS} FROM clusters ORDER BY name`)
    .raw()
    .all()
    .map(decodeCluster);
}

/** Stores the cluster, or deletes it if `after` is undefined. */
export function writeCluster(database: Database.Database, name: string, after: Cluster | undefined): void {
  if (after) {
    database
      .prepare(`INSERT OR REPLACE INTO clusters (${CLUSTER_COLUMNS}) VALUES (?, ?, ?, ?)`)
      .run(encodeCluster(after));
  } else database.prepare("DELETE FROM clusters WHERE name = ?").run(name);
}
