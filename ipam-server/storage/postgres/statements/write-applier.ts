import type { Catalog } from "../../../domain/model/catalog.ts";
import type { HeldIp } from "../../../domain/model/port-record.ts";
import type { Writes } from "../../../domain/model/snapshot.ts";
import { encodeFreedState } from "../../freed-rows.ts";
import { encodeOffset } from "../../offset-code.ts";
import { type Element, toArray, toColumns } from "../database/array-literal.ts";
import { type Bound, prepare } from "../database/statement.ts";
import { encodeMac, encodePort, PORT_COLUMN_LIST, PORT_COLUMNS, type PortColumn } from "../rows/port-rows.ts";

/** Columns that the usual update skips to spare their indexes: only a reallocation changes MAC and network. */
const FIXED: ReadonlySet<PortColumn> = new Set(["id", "name", "created_at", "mac", "network_id", "slot_of", "slot"]);
const SETTABLE = PORT_COLUMNS.filter(([name]) => !FIXED.has(name));
const SETTABLE_INDEXES = SETTABLE.map(column => PORT_COLUMNS.indexOf(column));

/** SQL that unnests one typed array a column into the table `w`. */
export function unnest(columns: readonly (readonly [name: string, type: string])[], first = 1): string {
  const arrays = columns.map(([, type], index) => `$${first + index}::${type}[]`);
  return `unnest(${arrays.join(", ")}) AS w (${columns.map(([name]) => name).join(", ")})`;
}

const only = (...names: PortColumn[]) => PORT_COLUMNS.filter(([name]) => names.includes(name));
const ADDRESS: [string, string][] = [
  ["subnet_id", "int"],
  ["ip_offset", "bigint"],
];
export const HELD_COLUMNS = [...ADDRESS, ["port_key", "bigint"]] as const;
export const FREED_COLUMNS = [
  ...ADDRESS,
  ["pooled", "smallint"],
  ["freed_at", "bigint"],
  ["last_port", "text"],
  ["released", "smallint"],
  ["conflict_mac", "bigint"],
  ["conflict_host", "text"],
] as const;

/** Fails by a division by zero unless the statement changes $1 rows, all those of the snapshot. */
const exactly = (statement: string) =>
  prepare(`WITH changed AS (${statement} RETURNING 1) SELECT 1 / (count(*) = $1::int)::int FROM changed`);

const DELETE_HELD = exactly(
  `DELETE FROM fixed_ips AS t USING ${unnest(ADDRESS, 2)} WHERE t.subnet_id = w.subnet_id AND t.ip_offset = w.ip_offset`,
);
const DELETE_FREED = exactly(
  `DELETE FROM freed AS t USING ${unnest(ADDRESS, 2)} WHERE t.subnet_id = w.subnet_id AND t.ip_offset = w.ip_offset`,
);
const DELETE_PORTS = exactly("DELETE FROM ports WHERE key = ANY ($2::bigint[])");
const UPDATE_PORTS = exactly(
  `UPDATE ports AS t SET ${SETTABLE.filter(([name]) => name !== "key")
    .map(([name]) => `${name} = w.${name}`)
    .join(", ")} FROM ${unnest(SETTABLE, 2)} WHERE t.key = w.key`,
);
const PARK_MACS = exactly("UPDATE ports SET mac = -key WHERE key = ANY ($2::bigint[])");
const MOVE_PORTS = exactly(
  `UPDATE ports AS t SET network_id = w.network_id, mac = w.mac
   FROM ${unnest(only("key", "network_id", "mac"), 2)} WHERE t.key = w.key`,
);
const RENAME_PORTS = exactly(
  `UPDATE ports AS t SET name = w.name FROM ${unnest(only("key", "name"), 2)} WHERE t.key = w.key`,
);
const INSERT_PORTS = prepare(`INSERT INTO ports (${PORT_COLUMN_LIST}) SELECT * FROM ${unnest(PORT_COLUMNS)}`);
const INSERT_HELD = prepare(
  `INSERT INTO fixed_ips (subnet_id, ip_offset, port_key) SELECT * FROM ${unnest(HELD_COLUMNS)}`,
);
const INSERT_FREED = prepare(
  `INSERT INTO freed (${FREED_COLUMNS.map(([name]) => name).join(", ")})
   SELECT * FROM ${unnest(FREED_COLUMNS)}`,
);
const SET_CURSORS = prepare(
  `UPDATE pools AS t SET next_offset = (first_offset::numeric + w.passed)::bigint
   FROM ${unnest([
     ["id", "int"],
     ["passed", "numeric"],
   ])} WHERE t.id = w.id`,
);
export const SET_COUNTERS = prepare(
  `UPDATE subnets AS t SET held = w.held, outside = w.outside, freed = w.freed
   FROM ${unnest([
     ["id", "int"],
     ["held", "bigint"],
     ["outside", "bigint"],
     ["freed", "bigint"],
   ])} WHERE t.id = w.id`,
);
/**
 * Only for subnets that this transaction has locked. An array in the index's order costs the same when statistics show an
 * empty table, as after a vacuum before many releases; a join then compared every row with every row.
 */
const DELETE_UNPOOLED = prepare(
  `DELETE FROM freed WHERE ctid = ANY (ARRAY(
     SELECT old.place FROM unnest($1::int[]) AS s (id) CROSS JOIN LATERAL (
       SELECT ctid AS place FROM freed WHERE subnet_id = s.id AND pooled = 0 AND conflict_mac IS NULL AND freed_at <= $2
       ORDER BY freed_at LIMIT 200) AS old))`,
);

/**
 * Plans a decided batch as statements over sets. Deletes come before updates and inserts, so that one item can claim what
 * another releases. Rows are inserted by name, so that two replicas that create the same ports wait but never deadlock.
 */
export function planWrites(writes: Writes, catalog: Catalog): Bound[] {
  const statements: Bound[] = [];
  const add = (statement: Bound["statement"], rows: readonly (readonly Element[])[], counted = false): void => {
    const [first] = rows;
    if (first === undefined) return;
    const columns = toColumns(rows, first.length);
    statements.push({ statement, values: counted ? [rows.length, ...columns] : columns });
  };
  const stored = ({ subnetId, offset }: HeldIp): [number, bigint] => [
    subnetId,
    encodeOffset(catalog.subnet(subnetId).cidr.version, offset),
  ];
  const step = (name: string) => {
    const last = statements.at(-1);
    if (last) last.step ??= name;
  };
  add(DELETE_HELD, writes.deletedHeld.map(stored), true);
  add(DELETE_FREED, writes.deletedFreed.map(stored), true);
  const deleted = writes.deletedPorts.map(({ key }) => key);
  if (deleted.length > 0) statements.push({ statement: DELETE_PORTS, values: [deleted.length, toArray(deleted)] });
  step("deleted");
  const updated = writes.updatedPorts.map(port => {
    const row = encodePort(port);
    return SETTABLE_INDEXES.map(index => row[index] ?? null);
  });
  add(UPDATE_PORTS, updated, true);
  // A port may get the MAC that another one loses, and PostgreSQL checks uniqueness row by row.
  if (writes.movedPorts.length > 1)
    add(
      PARK_MACS,
      writes.movedPorts.map(({ key }) => [key]),
      true,
    );
  const moved = writes.movedPorts.map(({ key, networkId, mac }) => [key, networkId, encodeMac(mac)]);
  add(MOVE_PORTS, moved, true);
  add(
    RENAME_PORTS,
    writes.renamedPorts.map(({ key, name }) => [key, name]),
    true,
  );
  step("updated");
  const inserted = writes.insertedPorts.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  add(INSERT_PORTS, inserted.map(encodePort));
  add(
    INSERT_HELD,
    writes.insertedHeld.map(ip => [...stored(ip), ip.portKey]),
  );
  step("held");
  add(
    INSERT_FREED,
    writes.insertedFreed.map(ip => [...stored(ip), ip.pooled ? 1 : 0, ...encodeFreedState(ip)]),
  );
  add(
    SET_CURSORS,
    [...writes.cursors].map(([pool, cursor]) => [pool.id, cursor > pool.last ? null : cursor - pool.first]),
  );
  add(
    SET_COUNTERS,
    [...writes.counters].map(([id, { held, outside, freed }]) => [id, held, outside, freed]),
  );
  step("counted");
  return statements;
}

export const deleteUnpooled = (locked: ReadonlySet<number>, before: number): Bound => ({
  statement: DELETE_UNPOOLED,
  values: [toArray([...locked]), before],
});
