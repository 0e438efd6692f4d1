import type { Cluster, HeldPass } from "../contract/index.ts";
import { toTimestamp } from "../domain/model/port-record.ts";
import { parseColumn } from "./port-rows.ts";

/** Columns of `clusters` on every engine, in the order of ClusterRow. */
export const CLUSTER_COLUMNS = "name, uid, registered_at, held_pass";
export type ClusterRow = [name: string, uid: string, registeredAt: number, heldPass: string | null];

export function encodeCluster({ name, uid, registeredAt, heldPass }: Cluster): ClusterRow {
  return [name, uid, Date.parse(registeredAt), heldPass ? JSON.stringify(heldPass) : null];
}

export function decodeCluster([name, uid, registeredAt, heldPass]: ClusterRow): Cluster {
  return {
    name,
    uid,
    registeredAt: toTimestamp(registeredAt),
    ...(heldPass !== null && { heldPass: parseColumn<HeldPass>(heldPass) }),
  };
}
