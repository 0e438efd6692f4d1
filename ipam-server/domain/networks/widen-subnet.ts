import { contains, type Range, rangeOf } from "../model/address.ts";
import type { SubnetDeclaration, SubnetRecord } from "../model/catalog.ts";

/** The undeclared subnet that a new one replaces with a wider prefix: that with the most held addresses inside it. */
export function findWidened(now: SubnetDeclaration, undeclared: Iterable<SubnetRecord>): SubnetRecord | undefined {
  return [...undeclared]
    .filter(({ cidr }) => cidr.version === now.cidr.version && contains(rangeOf(now.cidr), cidr.base))
    .filter(({ cidr }) => cidr.prefixLength > now.cidr.prefixLength)
    .toSorted((a, b) => b.held - a.held)[0];
}

/** How much greater an address's offset is in the wider subnet. A multiple of the old size, so no two rows meet. */
export const offsetShift = (old: SubnetDeclaration, now: SubnetDeclaration): bigint => old.cidr.base - now.cidr.base;

/** The old subnet with the offsets of the new one. */
export function shiftSubnet(old: SubnetRecord, now: SubnetDeclaration): SubnetRecord {
  const by = offsetShift(old, now);
  if (by === 0n) return old;
  return {
    ...old,
    ranges: old.ranges.map(pool => ({ ...pool, ...shiftRange(pool, by), cursor: pool.cursor + by })),
    unusable: old.unusable.map(({ ranges, why }) => ({ ranges: ranges.map(range => shiftRange(range, by)), why })),
    devices: old.devices.map(({ range, type }) => ({ range: shiftRange(range, by), type })),
  };
}

/** The part of a range of the new subnet that lies in the old one, in the old one's offsets; none if there is none. */
export function toOldRange(range: Range, old: SubnetRecord, now: SubnetDeclaration): Range[] {
  const { first, last } = shiftRange(range, -offsetShift(old, now));
  const end = old.cidr.count - 1n;
  if (last < 0n || first > end) return [];
  return [{ first: first < 0n ? 0n : first, last: last > end ? end : last }];
}

const shiftRange = ({ first, last }: Range, by: bigint): Range => ({ first: first + by, last: last + by });
