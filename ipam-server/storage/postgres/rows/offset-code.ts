import type { IpVersion } from "../../../domain/model/address.ts";

/**
 * Offsets as PostgreSQL's signed `bigint`, in the same order: IPv4 offsets as they are; IPv6 ones, which go up to
 * 2^64 - 1, less 2^63. The same numbers as in SQLite.
 */
const IPV6_BIAS = 1n << 63n;

export const encodeOffset = (version: IpVersion, offset: bigint): bigint =>
  version === 4 ? offset : offset - IPV6_BIAS;
/** From the text that a query asked for: numbers past 2^53 do not survive as such. */
export const decodeOffset = (version: IpVersion, stored: string): bigint =>
  version === 4 ? BigInt(stored) : BigInt(stored) + IPV6_BIAS;
