import { setImmediate as nextTurn } from "node:timers/promises";
import type Database from "better-sqlite3";
import {
  type TransferRow,
  type TransferState,
  toTransferFreed,
  toTransferNetwork,
  toTransferPort,
} from "../../domain/transfer.ts";
import { loadCatalog } from "./catalog-rows.ts";
import { decodeOffset } from "./offset-code.ts";
import { PORT_COLUMNS, type PortRow } from "./port-rows.ts";
import { SnapshotLoader } from "./snapshot-loader.ts";

/** Rows at a time, a few milliseconds: claims come in between. */
const CHUNK = 200;
const LEAST_CODE = -(1n << 63n);
const GREATEST_CODE = (1n << 63n) - 1n;

type FreedRow = [offset: bigint, pooled: bigint, freedAt: bigint, lastPort: string];

/** Everything in the stream's order, a chunk a turn. The database must not change meanwhile. */
export async function* exportRows(database: Database.Database): AsyncGenerator<TransferRow> {
  const catalog = loadCatalog(database);
  for (const network of catalog.networks) yield toTransferNetwork(network);

  const loader = new SnapshotLoader(database);
  const ports = database
    .prepare<[number, number], PortRow>(
      `SELECT ${PORT_COLUMNS.join(", ")} FROM ports WHERE key > ? ORDER BY key LIMIT ?`,
    )
    .raw();
  for (let rows = ports.all(0, CHUNK); rows.length > 0; rows = ports.all(rows.at(-1)?.[0] ?? 0, CHUNK)) {
    for (const port of loader.withFixedIps(rows, catalog)) yield toTransferPort(port, catalog);
    await nextTurn();
  }

  const freed = database
    .prepare<[number, bigint, number], FreedRow>(
      `SELECT offset, pooled, freed_at, last_port FROM freed WHERE subnet_id = ? AND offset >= ? ORDER BY offset LIMIT ?`,
    )
    .raw()
    .safeIntegers();
  for (const network of catalog.networks) {
    for (const subnet of network.subnets) {
      for (let from = LEAST_CODE; ; ) {
        const rows = freed.all(subnet.id, from, CHUNK);
        for (const [stored, pooled, freedAt, lastPort] of rows) {
          const offset = decodeOffset(subnet.cidr.version, stored);
          yield toTransferFreed(network, subnet, { offset, pooled: pooled === 1n, freedAt: Number(freedAt), lastPort });
        }
        const last = rows.at(-1)?.[0] ?? GREATEST_CODE;
        if (rows.length < CHUNK || last === GREATEST_CODE) break;
        from = last + 1n;
        await nextTurn();
      }
    }
  }
  yield readState(database);
}

function readState(database: Database.Database): TransferState {
  const state = database
    .prepare<[], Omit<TransferState, "kind">>(
      `SELECT max(event_floor, coalesce((SELECT max(seq) FROM events), 0)) AS lastSeq, next_port_key AS nextPortKey,
         epoch_floor AS epochFloor FROM store_state`,
    )
    .get();
  if (!state) throw new Error("the database has no state row");
  return { kind: "state", ...state };
}
