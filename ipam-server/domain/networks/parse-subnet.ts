import { type Dns, IpamError, type Route, type SubnetSpec } from "../../contract/index.ts";
import {
  type Cidr,
  contains,
  findRange,
  formatAddress,
  joinRanges,
  overlaps,
  parseAddress,
  parseCidr,
  type Range,
  rangeOf,
  subtractRanges,
} from "../model/address.ts";
import type { SubnetDeclaration } from "../model/catalog.ts";

const MIN_IPV6_PREFIX = 64;

export function fail(field: string, given: unknown, expected: string): never {
  throw new IpamError("invalid_request", `${field} is ${JSON.stringify(given)}; expected ${expected}`, { field });
}

/** Validates one declared subnet and fills in defaults. Throws `invalid_request` with a path that begins with `field`. */
export function parseSubnet(spec: SubnetSpec, field: string): SubnetDeclaration {
  const cidr = parseSubnetCidr(spec.cidr, `${field}.cidr`);
  const unusable = listReserved(cidr);
  const gateway =
    spec.gateway === undefined ? undefined : parseGateway(spec.gateway, cidr, unusable, `${field}.gateway`);
  if (gateway) unusable.push({ ranges: [{ first: gateway.offset, last: gateway.offset }], why: "the gateway" });
  const exclude = (spec.exclude ?? []).map((text, index) => parseExclusion(text, cidr, `${field}.exclude[${index}]`));
  unusable.push({ ranges: joinRanges(exclude.map(({ range }) => range)), why: "in the exclusions" });
  const pools = spec.pools?.map((text, index) => parsePool(text, cidr, `${field}.pools[${index}]`));
  if (pools) assertNoOverlaps(pools, `${field}.pools`);
  const routes = spec.routes?.map((route, index) => parseRoute(route, cidr, `${field}.routes[${index}]`));
  const dns = parseDns(spec.dns ?? {}, `${field}.dns`);
  const devices = [
    ...listDevices(
      routes?.flatMap(({ gw }) => gw ?? []),
      "router",
      cidr,
    ),
    ...listDevices(dns.nameservers, "nameserver", cidr),
  ];
  const all = [{ first: 0n, last: cidr.count - 1n }];
  return {
    cidr,
    gateway: gateway?.text,
    pools: pools?.map(({ text }) => text),
    exclude: exclude.map(({ text }) => text),
    routes,
    dns,
    ranges: subtractRanges(pools?.map(({ range }) => range) ?? all, [
      ...unusable.flatMap(({ ranges }) => ranges),
      ...devices.map(({ range }) => range),
    ]),
    unusable,
    devices,
  };
}

function parseSubnetCidr(text: string, field: string): Cidr {
  const cidr = parseCidr(text);
  if (!cidr) fail(field, text, "a CIDR such as 10.100.0.0/16 or fd00:100::/64");
  if ("meant" in cidr) fail(field, text, `no host bits: ${cidr.meant}`);
  if (cidr.version === 6 && cidr.prefixLength < MIN_IPV6_PREFIX) {
    fail(
      field,
      text,
      `an IPv6 prefix of /${MIN_IPV6_PREFIX} to /128 (a wider one has more addresses than Mooring counts)`,
    );
  }
  const [first] = text.split(".", 1);
  const multicast = cidr.version === 4 ? Number(first) >= 224 : cidr.base >> 120n === 0xffn;
  if (multicast) fail(field, text, "a unicast CIDR");
  return cidr;
}

/** Network and broadcast address (not in /31, RFC 3021, and /32); the subnet-router anycast address of IPv6 (RFC 4291). */
function listReserved({ version, prefixLength, count }: Cidr): SubnetDeclaration["unusable"] {
  const only = (offset: bigint, why: string) => ({ ranges: [{ first: offset, last: offset }], why });
  if (version === 4 && prefixLength <= 30) {
    return [only(0n, "the network address"), only(count - 1n, "the broadcast address")];
  }
  return version === 6 && prefixLength <= 126 ? [only(0n, "the subnet-router anycast address")] : [];
}

function parseGateway(
  text: string,
  cidr: Cidr,
  reserved: SubnetDeclaration["unusable"],
  field: string,
): { text: string; offset: bigint } {
  const offset = offsetIn(text, cidr);
  if (offset === undefined) fail(field, text, `an address inside ${cidr.text}`);
  const barred = reserved.find(({ ranges }) => findRange(ranges, offset));
  if (barred) fail(field, text, `an address of ${cidr.text} that a router can have, not ${barred.why}`);
  return { text: formatAddress(cidr.version, cidr.base + offset), offset };
}

function offsetIn(text: string, cidr: Cidr): bigint | undefined {
  const address = parseAddress(text.trim());
  if (address?.version !== cidr.version || !contains(rangeOf(cidr), address.value)) return undefined;
  return address.value - cidr.base;
}

/** Those of the addresses that are inside the CIDR. */
function listDevices(
  addresses: readonly string[] = [],
  type: SubnetDeclaration["devices"][number]["type"],
  cidr: Cidr,
): SubnetDeclaration["devices"] {
  return addresses.flatMap(text => {
    const offset = offsetIn(text, cidr);
    return offset === undefined ? [] : { range: { first: offset, last: offset }, type };
  });
}

interface NamedRange {
  text: string;
  range: Range;
}

function parsePool(text: string, cidr: Cidr, field: string): NamedRange {
  const [from = "", to = "", ...rest] = text.split("-");
  const first = offsetIn(from, cidr);
  const last = offsetIn(to, cidr);
  if (first === undefined || last === undefined || rest.length > 0) {
    fail(field, text, `a range first-last inside ${cidr.text}`);
  }
  if (first > last) fail(field, text, "the lower address first");
  return { text: `${formatAt(cidr, first)}-${formatAt(cidr, last)}`, range: { first, last } };
}

const formatAt = (cidr: Cidr, offset: bigint) => formatAddress(cidr.version, cidr.base + offset);

function assertNoOverlaps(pools: readonly NamedRange[], field: string): void {
  const sorted = [...pools.entries()].sort(([, a], [, b]) => (a.range.first < b.range.first ? -1 : 1));
  for (const [position, present] of sorted.entries()) {
    const next = sorted[position + 1];
    if (!next || !overlaps(present[1].range, next[1].range)) continue;
    const [[, other], [index, pool]] = present[0] < next[0] ? [present, next] : [next, present];
    fail(`${field}[${index}]`, pool.text, `a range that does not overlap ${other.text}`);
  }
}

/** A CIDR, a single address or a range. */
function parseExclusion(text: string, cidr: Cidr, field: string): NamedRange {
  const offset = offsetIn(text, cidr);
  if (offset !== undefined) return { text: formatAt(cidr, offset), range: { first: offset, last: offset } };
  if (text.includes("-")) return parsePool(text, cidr, field);
  const inner = parseCidr(text);
  if (inner && "meant" in inner) fail(field, text, `no host bits: ${inner.meant}`);
  const bounds = rangeOf(cidr);
  if (
    !inner ||
    inner.version !== cidr.version ||
    !contains(bounds, inner.base) ||
    !contains(bounds, rangeOf(inner).last)
  ) {
    fail(field, text, `a CIDR, an address or a range first-last inside ${cidr.text}`);
  }
  const first = inner.base - cidr.base;
  return { text: inner.text, range: { first, last: first + inner.count - 1n } };
}

function parseRoute({ dst, gw }: Route, cidr: Cidr, field: string): Route {
  const destination = parseCidr(dst);
  const example = cidr.version === 4 ? "10.0.0.0/8" : "fd00::/8";
  if (!destination) fail(`${field}.dst`, dst, `a CIDR such as ${example}`);
  if ("meant" in destination) fail(`${field}.dst`, dst, `no host bits: ${destination.meant}`);
  if (destination.version !== cidr.version) fail(`${field}.dst`, dst, `an IPv${cidr.version} CIDR such as ${example}`);
  if (gw === undefined) return { dst: destination.text };
  const hop = parseAddress(gw);
  const linkLocal = hop?.version === 6 && hop.value >> 118n === 0x3fan;
  if (hop?.version !== cidr.version || !(linkLocal || contains(rangeOf(cidr), hop.value))) {
    fail(`${field}.gw`, gw, `a next hop inside ${cidr.text}, or none for an on-link route`);
  }
  return { dst: destination.text, gw: formatAddress(hop.version, hop.value) };
}

function parseDns(dns: Dns, field: string): Dns {
  dns.nameservers?.forEach((text, index) => {
    if (!parseAddress(text)) fail(`${field}.nameservers[${index}]`, text, "an IP address such as 10.0.0.53");
  });
  const parsed: Dns = {};
  if (dns.nameservers?.length) parsed.nameservers = dns.nameservers;
  if (dns.domain !== undefined) parsed.domain = dns.domain;
  if (dns.search?.length) parsed.search = dns.search;
  if (dns.options?.length) parsed.options = dns.options;
  return parsed;
}
