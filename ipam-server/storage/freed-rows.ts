import type { Conflict } from "../contract/index.ts";
import { addressAt, type Catalog } from "../domain/model/catalog.ts";
import { toTimestamp } from "../domain/model/port-record.ts";
import type { FreedState } from "../domain/model/snapshot.ts";
import { decodeOffset } from "./offset-code.ts";
import { decodeMac, encodeMac } from "./port-rows.ts";

/** Columns of `freed` that make a FreedState, on every engine, in the order of FreedStateRow. */
export const FREED_STATE_COLUMNS = "freed_at, last_port, released, conflict_mac, conflict_host";

export type FreedStateRow = [
  freedAt: number,
  lastPort: string,
  released: number,
  conflictMac: number | null,
  conflictHost: string | null,
];

export const encodeFreedState = ({ freedAt, lastPort, released, conflict }: FreedState): FreedStateRow => [
  freedAt,
  lastPort,
  released ? 1 : 0,
  conflict ? encodeMac(conflict.mac) : null,
  conflict?.host ?? null,
];

export function decodeFreedState([freedAt, lastPort, released, mac, host]: FreedStateRow): FreedState {
  const conflict = mac === null || host === null ? undefined : { mac: decodeMac(mac), host };
  return { freedAt, lastPort, released: released === 1, conflict };
}

/** A row of `freed` with its place; an offset may exceed 2^53, so it is text. */
export type PlacedFreedRow = [subnetId: number, offset: string, ...FreedStateRow];

/** Skips rows of subnets that the catalog does not have yet. */
export function decodeConflicts(rows: readonly PlacedFreedRow[], catalog: Catalog): Conflict[] {
  const conflicts = rows.flatMap(([subnetId, stored, ...row]) => {
    const { freedAt, lastPort, conflict } = decodeFreedState(row);
    if (!conflict || !catalog.hasSubnet(subnetId)) return [];
    const subnet = catalog.subnet(subnetId);
    const address = addressAt(subnet, decodeOffset(subnet.cidr.version, stored));
    const network = catalog.network(subnet.networkId).name;
    return { address, network, subnet: subnet.cidr.text, ...conflict, port: lastPort, foundAt: toTimestamp(freedAt) };
  });
  return conflicts.sort((a, b) => (a.network < b.network ? -1 : a.network > b.network ? 1 : 0));
}
