import type { Segment } from "../../../contract/index.ts";
import type { SubnetDeclaration } from "../../../domain/model/catalog.ts";
import { findCoolingSources, type ReuseTimes, segmentKey } from "../../../domain/networks/cooling.ts";
import { encodeOffset, splitShift } from "../../offset-code.ts";
import { prepare, type Send } from "../database/statement.ts";

const PRUNE = prepare("DELETE FROM cooling WHERE freed_at <= $1");
const KEEP = prepare(
  `INSERT INTO cooling (segment, cidr, ip_offset, freed_at, last_port)
   SELECT $1::text, $2::text, ip_offset, freed_at, last_port FROM freed
   WHERE subnet_id = $3 AND freed_at > $4 AND conflict_mac IS NULL`,
);
const FORMER = prepare("SELECT DISTINCT cidr FROM cooling WHERE segment = $1");
const ADOPT = prepare(
  `WITH moved AS (
     DELETE FROM cooling WHERE segment = $1 AND cidr = $2 AND ip_offset BETWEEN $3 AND $4
     RETURNING ip_offset, freed_at, last_port
   ), adopted AS (
     INSERT INTO freed (subnet_id, ip_offset, pooled, freed_at, last_port)
     SELECT $5::int, ip_offset + $6::bigint + $7::bigint, 0, least(freed_at, $8::bigint), last_port
     FROM moved WHERE freed_at > $9::bigint RETURNING 1
   ) SELECT count(*) FROM adopted`,
);

interface Declared {
  id: number;
  subnet: SubnetDeclaration;
  segment: Segment;
}

/** Keeps what waits in a subnet that is about to be removed, and forgets what has waited long enough. */
export async function keepCooling(
  send: Send,
  { id, subnet, segment }: Declared,
  { now, reuseDelayMs }: ReuseTimes,
): Promise<void> {
  const cutoff = now - reuseDelayMs;
  await send(PRUNE, cutoff);
  await send(KEEP, segmentKey(segment), subnet.cidr.text, id, cutoff);
}

/** Moves what still waits to a subnet just declared. Resolves to how many; those in its pools are yet to be counted. */
export async function adoptCooling(
  send: Send,
  { id, subnet, segment }: Declared,
  { now, reuseDelayMs }: ReuseTimes,
): Promise<number> {
  const key = segmentKey(segment);
  const former = await send<[cidr: string]>(FORMER, key);
  const texts = former.map(([text]) => text);
  let adopted = 0;
  for (const { cidr, first, last, shift } of findCoolingSources(texts, subnet.cidr)) {
    const place = [key, cidr.text, encodeOffset(cidr.version, first), encodeOffset(cidr.version, last)] as const;
    const [row] = await send<[count: number]>(ADOPT, ...place, id, ...splitShift(shift), now, now - reuseDelayMs);
    adopted += row?.[0] ?? 0;
  }
  return adopted;
}
