import type { IpVersion } from "../domain/model/address.ts";

const IPV6_BIAS = 1n << 63n;

/**
 * An address offset as a signed 64-bit integer, in the same order on every engine. IPv4 offsets are stored unchanged,
 * which keeps them short; IPv6 offsets reach 2^64 - 1 and are stored less 2^63.
 */
export const encodeOffset = (version: IpVersion, offset: bigint): bigint =>
  version === 4 ? offset : offset - IPV6_BIAS;

/** Accepts text, as PostgreSQL returns offsets, because numbers above 2^53 lose precision. */
export const decodeOffset = (version: IpVersion, stored: bigint | string): bigint =>
  version === 4 ? BigInt(stored) : BigInt(stored) + IPV6_BIAS;

/** A count up to 2^64 - 1 as a signed 64-bit integer, in no useful order. */
export const encodeCount = (count: bigint): bigint => BigInt.asIntN(64, count);
export const decodeCount = (stored: bigint): bigint => BigInt.asUintN(64, stored);

/** Two numbers to add to a stored offset in turn: a shift may not fit in 64 bits, but no sum of them leaves the range. */
export const splitShift = (shift: bigint): [bigint, bigint] => [shift / 2n, shift - shift / 2n];
