import ipaddr from "ipaddr.js";
import type { IpFamily } from "../../contract/index.ts";

/**
 * Addresses as numbers. Inside the domain an address is its subnet and a 64-bit offset from the subnet's first
 * address; text is made only for messages and the wire.
 */
export type IpVersion = 4 | 6;

export interface ParsedAddress {
  version: IpVersion;
  value: bigint;
}

export interface Cidr {
  version: IpVersion;
  /** The first address. */
  base: bigint;
  prefixLength: number;
  /** The number of addresses, network and broadcast included. */
  count: bigint;
  /** Canonical text (RFC 5952 for IPv6). */
  text: string;
}

/** An inclusive range, of addresses or of offsets. */
export interface Range {
  first: bigint;
  last: bigint;
}

const ADDRESS_BITS = { 4: 32, 6: 128 } as const;

export const familyOf = (version: IpVersion): IpFamily => (version === 4 ? "ipv4" : "ipv6");

/** Returns undefined for text that is no address. Rejects zone ids and shortened IPv4 forms. */
export function parseAddress(text: string): ParsedAddress | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return { version: 4, value: toValue(ipaddr.IPv4.parse(text)) };
  if (text.includes("%") || !ipaddr.IPv6.isValid(text)) return undefined;
  return { version: 6, value: toValue(ipaddr.IPv6.parse(text)) };
}

function toValue(address: { toByteArray(): number[] }): bigint {
  return address.toByteArray().reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

export function formatAddress(version: IpVersion, value: bigint): string {
  if (version === 4) {
    const bits = Number(value);
    return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
  }
  const parts = Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(112 - 16 * index)) & 0xffffn));
  return new ipaddr.IPv6(parts).toRFC5952String();
}

/** Returns the canonical text (RFC 5952 for IPv6), or undefined if it is no address. */
export function canonicalAddress(text: string): string | undefined {
  const address = parseAddress(text);
  return address && formatAddress(address.version, address.value);
}

/** Returns the CIDR, the intended one as `meant` if the text has host bits, or undefined if it is no CIDR. */
export function parseCidr(text: string): Cidr | { meant: string } | undefined {
  const [, addressText = "", prefixText = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = parseAddress(addressText);
  if (!address) return undefined;
  const bits = ADDRESS_BITS[address.version];
  const prefixLength = Number(prefixText);
  if (prefixLength > bits || String(prefixLength) !== prefixText) return undefined;
  const count = 1n << BigInt(bits - prefixLength);
  const base = address.value & ~(count - 1n);
  const canonical = `${formatAddress(address.version, base)}/${prefixLength}`;
  if (base !== address.value) return { meant: canonical };
  return { version: address.version, base, prefixLength, count, text: canonical };
}

export const overlaps = (a: Range, b: Range): boolean => a.first <= b.last && b.first <= a.last;
export const contains = (range: Range, value: bigint): boolean => value >= range.first && value <= range.last;
export const lengthOf = (range: Range): bigint => range.last - range.first + 1n;
export const rangeOf = (cidr: Cidr): Range => ({ first: cidr.base, last: cidr.base + cidr.count - 1n });

/** Returns the ranges without `excluded`: sorted, disjoint, adjacent ones joined. */
export function subtractRanges(ranges: readonly Range[], excluded: readonly Range[]): Range[] {
  const cuts = joinRanges(excluded);
  const left: Range[] = [];
  let next = 0;
  for (const { first, last } of joinRanges(ranges)) {
    let from = first;
    for (let cut = cuts[next]; cut && cut.first <= last; cut = cuts[++next]) {
      if (cut.first > from) left.push({ first: from, last: cut.first - 1n });
      if (cut.last >= from) from = cut.last + 1n;
      // The cut may reach into the next range.
      if (cut.last > last) break;
    }
    if (from <= last) left.push({ first: from, last });
  }
  return left;
}

/** The range that has the value. The ranges are sorted and disjoint, and may be many. */
export function findRange<R extends Range>(ranges: readonly R[], value: bigint): R | undefined {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const range = ranges[middle];
    if (!range || contains(range, value)) return range;
    if (value < range.first) high = middle - 1;
    else low = middle + 1;
  }
  return undefined;
}

/** Returns the ranges sorted, with overlapping and adjacent ones joined. */
export function joinRanges(ranges: readonly Range[]): Range[] {
  const joined: Range[] = [];
  for (const range of ranges.toSorted((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const previous = joined.at(-1);
    if (previous && range.first <= previous.last + 1n) {
      if (range.last > previous.last) previous.last = range.last;
    } else joined.push({ ...range });
  }
  return joined;
}
