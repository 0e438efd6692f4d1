import type { Segment } from "../../contract/index.ts";
import { type Cidr, contains, parseCidr, rangeOf } from "../model/address.ts";

/**
 * Freed addresses of subnets that are no longer declared, kept by segment and address for the reuse delay: hosts on the
 * segment remember who had an address, not which network declares it.
 */

/** A subnet that is no longer declared, on the segment of `segmentKey`. */
export interface FormerSubnet {
  segment: string;
  cidr: Cidr;
}

export interface CoolingAddress extends FormerSubnet {
  offset: bigint;
  freedAt: number;
  lastPort: string;
}

/** Names a layer 2 segment, whichever network uses it. */
export const segmentKey = (segment: Segment): string =>
  `${segment.physicalNetwork}/${segment.type === "vlan" ? segment.id : 0}`;

/** The time of a change, and how long a freed address waits. */
export interface ReuseTimes {
  now: number;
  reuseDelayMs: number;
}

/** Rows of one former subnet that belong to a declared one. */
export interface CoolingSource {
  /** The former subnet. */
  cidr: Cidr;
  /** Of its offsets, those that the declared subnet has. */
  first: bigint;
  last: bigint;
  /** How much greater an offset is in the declared subnet. */
  shift: bigint;
}

/** Finds what a declared subnet has of former ones on its segment. */
export function findCoolingSources(former: readonly string[], declared: Cidr): CoolingSource[] {
  return former.flatMap(text => {
    const cidr = parseCidr(text);
    if (!cidr || "meant" in cidr || cidr.version !== declared.version) return [];
    // Two CIDRs are disjoint, or one contains the other.
    const [inner, outer] = cidr.prefixLength > declared.prefixLength ? [cidr, declared] : [declared, cidr];
    if (!contains(rangeOf(outer), inner.base)) return [];
    const first = inner.base - cidr.base;
    return [{ cidr, first, last: first + inner.count - 1n, shift: cidr.base - declared.base }];
  });
}
