import { ERROR_CODES, type ErrorCode } from "../contract/error-codes.ts";
import type {
  ClaimResult,
  ClaimsResponse,
  Network,
  Port,
  PortList,
  Problem,
  ReleaseResult,
  ReleasesResponse,
  ReportResult,
  ReportsResponse,
} from "../contract/index.ts";
import { IpamError } from "../contract/ipam-error.ts";

/**
 * The edge where the IPAM's answers come in. What the plugin will act on is checked by hand, field by field; past these
 * functions the wire types are trusted. A failed check throws the text of what is wrong.
 */

export function parseClaims(value: unknown, count: number): ClaimResult[] {
  const { results } = parseResults<ClaimsResponse>(value, count);
  for (const result of results) {
    if ("problem" in result) continue;
    parsePort(result.port);
    need(isObject(result.segment) && ["flat", "vlan"].includes(result.segment.type), "segment");
    if (result.segment.type === "vlan") need(Number.isInteger(result.segment.id), "segment.id");
    need(Number.isInteger(result.mtu), "mtu");
    need(Array.isArray(result.routes) && result.routes.every(route => typeof route.dst === "string"), "routes");
    need(isObject(result.dns), "dns");
    need(typeof result.previousBindingReleased === "boolean", "previousBindingReleased");
    const { size, low } = result.nodeLease ?? { size: 1, low: 1 };
    need(Number.isInteger(size) && Number.isInteger(low) && low >= 1 && low <= size, "nodeLease");
  }
  return results;
}

export function parseReleases(value: unknown, count: number): ReleaseResult[] {
  const { results } = parseResults<ReleasesResponse>(value, count);
  for (const result of results) need("problem" in result || typeof result.released === "boolean", "released");
  return results;
}

export function parseReports(value: unknown, count: number): ReportResult[] {
  const { results } = parseResults<ReportsResponse>(value, count);
  for (const result of results) need("problem" in result || typeof result.applied === "boolean", "applied");
  return results;
}

export function parsePort(value: unknown): Port {
  need(isObject(value), "port");
  const port = value as unknown as Port;
  for (const key of ["name", "id", "network", "mac"] as const) need(typeof port[key] === "string", `port.${key}`);
  need(Number.isInteger(port.epoch), "port.epoch");
  const sound = (ip: unknown) =>
    isObject(ip) &&
    typeof ip.address === "string" &&
    typeof ip.subnet === "string" &&
    Number.isInteger(ip.prefixLength);
  need(Array.isArray(port.fixedIps) && port.fixedIps.every(sound), "port.fixedIps");
  return port;
}

export function parsePortList(value: unknown): PortList {
  need(isObject(value) && Array.isArray(value.ports), "ports");
  const list = value as unknown as PortList;
  for (const port of list.ports) parsePort(port);
  need(list.nextCursor === undefined || typeof list.nextCursor === "string", "nextCursor");
  return list;
}

export function parseLastSeq(value: unknown): number {
  need(isObject(value) && Number.isSafeInteger(value.lastSeq), "lastSeq");
  return (value as unknown as { lastSeq: number }).lastSeq;
}

export function parseNetwork(value: unknown): Network {
  need(isObject(value), "network");
  const network = value as unknown as Network;
  need(isObject(network.segment), "segment");
  need(Number.isInteger(network.mtu), "mtu");
  need(Array.isArray(network.subnets) && network.subnets.every(subnet => Array.isArray(subnet.routes)), "subnets");
  return network;
}

/** The error of an answer that is no success: the server's own problem document, else what its status says. */
export function parseFailure(status: number, body: unknown, url: string): IpamError {
  if (isProblem(body)) return IpamError.fromProblem(body);
  const code: ErrorCode =
    ({ 401: "unauthenticated", 403: "forbidden", 503: "unavailable" } as const)[status] ?? "internal";
  return new IpamError(code, `${url} answered ${status} without saying why: check that a Mooring IPAM listens there`);
}

function isProblem(value: unknown): value is Problem {
  return isObject(value) && typeof value.detail === "string" && Object.hasOwn(ERROR_CODES, String(value.code));
}

function parseResults<T extends { results: unknown[] }>(value: unknown, count: number): T {
  need(isObject(value) && Array.isArray(value.results), "results");
  const { results } = value as unknown as T;
  need(results.length === count, `results (${results.length} for ${count} requests)`);
  for (const result of results) {
    need(isObject(result), "results");
    if (isObject(result) && "problem" in result) need(isProblem(result.problem), "problem");
  }
  return value as unknown as T;
}

function need(holds: boolean, field: string): asserts holds {
  if (!holds) throw new IpamError("internal", `the IPAM's answer has no valid "${field}": check both ends' versions`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
