import type { IpVersion } from "../domain/model/address.ts";

/**
 * Offsets as SQLite's signed 64-bit integers, in the same order. IPv4 offsets are stored as they are, which keeps
 * them short; IPv6 ones go up to 2^64 - 1 and are stored less 2^63.
 */
const IPV6_BIAS = 1n << 63n;

export const encodeOffset = (version: IpVersion, offset: bigint): bigint =>
  version === 4 ? offset : offset - IPV6_BIAS;
export const decodeOffset = (version: IpVersion, stored: bigint): bigint =>
  version === 4 ? stored : stored + IPV6_BIAS;

/** A count up to 2^64 - 1, without order. */
export const encodeCount = (count: bigint): bigint => BigInt.asIntN(64, count);
export const decodeCount = (stored: bigint): bigint => BigInt.asUintN(64, stored);
