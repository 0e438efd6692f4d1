import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Finding } from "../../../domain/store.ts";
import { encodeOffset } from "../../offset-code.ts";
import { prepare, type Send } from "../database/statement.ts";

/** Faults that one query finds; each row names the place. */
const QUERIES: readonly [what: string, sql: string][] = [
  [
    "an address is both held and freed",
    "SELECT subnet_id || '/' || ip_offset FROM fixed_ips JOIN freed USING (subnet_id, ip_offset)",
  ],
  [
    "an address is held by no port",
    `SELECT subnet_id || '/' || ip_offset FROM fixed_ips
       WHERE NOT EXISTS (SELECT FROM ports WHERE key = port_key)`,
  ],
  ["a port holds no address", "SELECT name FROM ports WHERE NOT EXISTS (SELECT FROM fixed_ips WHERE port_key = key)"],
  [
    "a port's network is not there",
    "SELECT name FROM ports WHERE NOT EXISTS (SELECT FROM networks WHERE networks.id = network_id)",
  ],
  [
    "a held or freed address's subnet is not there",
    `SELECT subnet_id || '/' || ip_offset FROM (SELECT subnet_id, ip_offset FROM fixed_ips
       UNION ALL SELECT subnet_id, ip_offset FROM freed) AS used
       WHERE NOT EXISTS (SELECT FROM subnets WHERE subnets.id = subnet_id)`,
  ],
  [
    "a port holds an address of another network",
    `SELECT ports.name FROM fixed_ips JOIN ports ON ports.key = port_key JOIN subnets ON subnets.id = subnet_id
       WHERE subnets.network_id <> ports.network_id`,
  ],
  [
    "two ports of a network have one MAC",
    "SELECT network_id || '/' || mac FROM ports GROUP BY network_id, mac HAVING count(*) > 1",
  ],
  ["a port key is not below the next one", "SELECT name FROM ports WHERE key >= (SELECT next_port_key FROM port_keys)"],
  [
    "a port is bound without an owner or an epoch",
    "SELECT name FROM ports WHERE host IS NOT NULL AND (owner_uid IS NULL OR epoch < 1)",
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
    `SELECT name FROM ports WHERE slot IS NOT NULL AND name <> split_part(slot_of, ' ', 1) || '/' || slot ||
       CASE WHEN slot_of LIKE '% %' THEN '/' || split_part(slot_of, ' ', 2) ELSE '' END`,
  ],
  [
    "an event has a number above the counter",
    "SELECT seq::text FROM events WHERE seq > (SELECT last_seq FROM event_counter)",
  ],
];
const PREPARED = QUERIES.map(([what, sql]) => ({ what, statement: prepare(`${sql} LIMIT 100`) }));

const inRange = (table: string, condition = "") =>
  prepare(`SELECT count(*) FROM ${table} WHERE subnet_id = $1 AND ip_offset BETWEEN $2 AND $3 ${condition}`);
const HELD = inRange("fixed_ips");
const FREED = inRange("freed", "AND pooled = 1");
const UNPOOLED = inRange("freed", "AND pooled = 0 AND conflict_mac IS NULL");
const CONFLICTS = inRange("freed", "AND conflict_mac IS NOT NULL");
const ALL_HELD = prepare("SELECT count(*) FROM fixed_ips WHERE subnet_id = $1");

/** Recounts and compares everything that the tables must keep consistent. Requires a transaction that sees one state. */
export async function checkStore(send: Send, catalog: Catalog): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { what, statement } of PREPARED) {
    for (const [where] of await send<[where: string]>(statement)) findings.push({ what, where });
  }
  for (const subnet of catalog.networks.flatMap(network => network.subnets)) {
    const where = `subnet ${subnet.cidr.text}`;
    const encode = (offset: bigint) => encodeOffset(subnet.cidr.version, offset);
    const within = async (statement: typeof HELD, first: bigint, last: bigint): Promise<number> => {
      if (first > last) return 0;
      const [row] = await send<[count: number]>(statement, subnet.id, encode(first), encode(last));
      return row?.[0] ?? 0;
    };
    const report = (what: string, kept: number | bigint, found: number) => {
      if (Number(kept) !== found) findings.push({ what: `${what}: kept ${kept}, found ${found}`, where });
    };
    const complete = [0n, subnet.cidr.count - 1n] as const;
    const [row] = await send<[count: number]>(ALL_HELD, subnet.id);
    const held = row?.[0] ?? 0;
    report("held addresses inside the subnet", held, await within(HELD, ...complete));
    report("held counter", subnet.held, held);
    report("freed counter", subnet.freed, await within(FREED, ...complete));
    let inside = 0;
    let pooled = 0;
    for (const { first, last, cursor } of subnet.ranges) {
      inside += await within(HELD, first, last);
      pooled += await within(FREED, first, last);
      report("unpooled freed addresses inside a pool", 0, await within(UNPOOLED, first, last));
      if (cursor < first || cursor > last + 1n) findings.push({ what: `cursor ${cursor} outside its pool`, where });
      // Every address below the cursor is held or freed, or has a conflict.
      let below = 0;
      for (const statement of [HELD, FREED, CONFLICTS]) below += await within(statement, first, cursor - 1n);
      report("used addresses below the cursor", cursor - first, below);
    }
    report("held outside the pools", subnet.outside, held - inside);
    report("freed inside the pools", subnet.freed, pooled);
    for (const { ranges, why } of subnet.unusable) {
      for (const { first, last } of ranges)
        report(`held addresses that are ${why}`, 0, await within(HELD, first, last));
    }
  }
  return findings;
}
