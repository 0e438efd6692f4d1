import type Database from "better-sqlite3";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Finding } from "../../../domain/store.ts";
import { encodeOffset } from "../../offset-code.ts";

/** Faults that one query finds; each row names the place. */
const QUERIES: readonly [what: string, sql: string][] = [
  [
    "an address is both held and freed",
    "SELECT subnet_id || '/' || offset FROM fixed_ips JOIN freed USING (subnet_id, offset)",
  ],
  [
    "an address is held by no port",
    "SELECT subnet_id || '/' || offset FROM fixed_ips WHERE port_key NOT IN (SELECT key FROM ports)",
  ],
  ["a port holds no address", "SELECT name FROM ports WHERE key NOT IN (SELECT port_key FROM fixed_ips)"],
  ["a port's network is not there", "SELECT name FROM ports WHERE network_id NOT IN (SELECT id FROM networks)"],
  [
    "a port holds an address of another network",
    `SELECT ports.name FROM fixed_ips JOIN ports ON ports.key = port_key JOIN subnets ON subnets.id = subnet_id
       WHERE subnets.network_id <> ports.network_id`,
  ],
  [
    "two ports of a network have one MAC",
    "SELECT network_id || '/' || mac FROM ports GROUP BY network_id, mac HAVING count(*) > 1",
  ],
  [
    "a port key is not below the next one",
    "SELECT name FROM ports WHERE key >= (SELECT next_port_key FROM store_state)",
  ],
  [
    "a port is bound without an owner or an epoch",
    "SELECT name FROM ports WHERE host IS NOT NULL AND (owner_uid IS NULL OR epoch < 1)",
  ],
  [
    "a port has a binding key without a binding, or a binding without its key",
    "SELECT name FROM ports WHERE (host IS NULL) <> (binding_key IS NULL)",
  ],
  [
    "an INACTIVE binding is incomplete, or on the host of the ACTIVE one",
    "SELECT name FROM ports WHERE inactive_host = host OR (inactive_host IS NULL) <> (inactive IS NULL)",
  ],
  [
    "a bound port has an expiry that is no lease's, or is a lease without one",
    "SELECT name FROM ports WHERE host IS NOT NULL AND (expires_at IS NOT NULL) <> (owner_kind = 'lease')",
  ],
  [
    "a port's name is not its slot's",
    `SELECT name FROM ports WHERE slot IS NOT NULL AND name <> CASE instr(slot_of, ' ')
       WHEN 0 THEN slot_of || '/' || slot
       ELSE substr(slot_of, 1, instr(slot_of, ' ') - 1) || '/' || slot || '/' || substr(slot_of, instr(slot_of, ' ') + 1) END`,
  ],
  ["SQLite's own check", "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'"],
];

/** Recounts and compares everything that the tables must keep consistent. */
export function checkStore(database: Database.Database, catalog: Catalog): Finding[] {
  const findings = QUERIES.flatMap(([what, sql]) =>
    database
      .prepare<[], string>(`${sql} LIMIT 100`)
      .pluck()
      .all()
      .map(where => ({ what, where })),
  );
  return [...findings, ...checkSubnets(database, catalog)];
}

/** Compares the cached counters and cursors with the database's. */
export function compareCatalogs(memory: Catalog, database: Catalog): Finding[] {
  const describeSubnets = ({ networks }: Catalog) =>
    new Map(
      networks
        .flatMap(network => network.subnets)
        .map(({ cidr, held, outside, freed, ranges }) => [
          `subnet ${cidr.text}`,
          `held ${held}, outside ${outside}, freed ${freed}, cursors ${ranges.map(({ cursor }) => cursor).join(" ")}`,
        ]),
    );
  const [cached, stored] = [describeSubnets(memory), describeSubnets(database)];
  return [...new Set([...cached.keys(), ...stored.keys()])]
    .filter(where => cached.get(where) !== stored.get(where))
    .map(where => ({ what: `in memory ${cached.get(where)}, in the database ${stored.get(where)}`, where }));
}

function checkSubnets(database: Database.Database, catalog: Catalog): Finding[] {
  const findings: Finding[] = [];
  const count = (table: string, condition = "") =>
    database
      .prepare<[number, bigint, bigint], number>(
        `SELECT count(*) FROM ${table} WHERE subnet_id = ? AND offset BETWEEN ? AND ? ${condition}`,
      )
      .pluck();
  const held = count("fixed_ips");
  const freed = count("freed", "AND pooled = 1");
  const unpooled = count("freed", "AND pooled = 0 AND conflict_mac IS NULL");
  const conflicts = count("freed", "AND conflict_mac IS NOT NULL");
  for (const subnet of catalog.networks.flatMap(network => network.subnets)) {
    const where = `subnet ${subnet.cidr.text}`;
    const encode = (offset: bigint) => encodeOffset(subnet.cidr.version, offset);
    const within = (statement: typeof held, first: bigint, last: bigint) =>
      first > last ? 0 : (statement.get(subnet.id, encode(first), encode(last)) ?? 0);
    const complete = [0n, subnet.cidr.count - 1n] as const;
    const report = (what: string, kept: number | bigint, found: number) => {
      if (Number(kept) !== found) findings.push({ what: `${what}: kept ${kept}, found ${found}`, where });
    };
    const all = (table: string) =>
      database.prepare<[number], number>(`SELECT count(*) FROM ${table} WHERE subnet_id = ?`).pluck().get(subnet.id) ??
      0;
    report("held addresses inside the subnet", all("fixed_ips"), within(held, ...complete));
    report("held counter", subnet.held, all("fixed_ips"));
    report("freed counter", subnet.freed, within(freed, ...complete));
    let inside = 0;
    let pooled = 0;
    for (const { first, last, cursor } of subnet.ranges) {
      inside += within(held, first, last);
      pooled += within(freed, first, last);
      report("unpooled freed addresses inside a pool", 0, within(unpooled, first, last));
      if (cursor < first || cursor > last + 1n) findings.push({ what: `cursor ${cursor} outside its pool`, where });
      // Every address below the cursor is held or freed, or has a conflict.
      report(
        "used addresses below the cursor",
        cursor - first,
        [held, freed, conflicts].reduce((sum, statement) => sum + within(statement, first, cursor - 1n), 0),
      );
    }
    report("held outside the pools", subnet.outside, all("fixed_ips") - inside);
    report("freed inside the pools", subnet.freed, pooled);
    for (const { ranges, why } of subnet.unusable) {
      for (const { first, last } of ranges) report(`held addresses that are ${why}`, 0, within(held, first, last));
    }
  }
  return findings;
}
