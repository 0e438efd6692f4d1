import { ERROR_CODES, type ErrorCode } from "../contract/error-codes.ts";
import type {
  ActivationResult,
  ClaimResult,
  ClaimsResponse,
  Cluster,
  ClusterList,
  Conflict,
  ConflictList,
  EventList,
  ImportResponse,
  Network,
  NetworkList,
  Port,
  PortList,
  Problem,
  PurgeResponse,
  PutNetworkResponse,
  Recovery,
  ReleaseResult,
  ReleasesResponse,
  ReportResult,
  ReportsResponse,
  WorkloadReportResult,
  WorkloadReportsResponse,
} from "../contract/index.ts";
import { IpamError, type IpamErrorDetails } from "../contract/ipam-error.ts";
import { UnexpectedAnswerError } from "./transport-error.ts";

/**
 * Validates the IPAM's answers, by hand because the CNI executable loads no schema library. Past these functions the wire
 * types are trusted. Throws IpamError that names the field.
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

export const parseActivations: (value: unknown, count: number) => ActivationResult[] = parseClaims;

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

export function parseConflicts(value: unknown): Conflict[] {
  need(isObject(value) && Array.isArray(value.conflicts), "conflicts");
  const { conflicts } = value as unknown as ConflictList;
  const keys = ["address", "network", "subnet", "mac", "host", "port", "foundAt"] as const;
  for (const conflict of conflicts)
    for (const key of keys) need(typeof conflict?.[key] === "string", `conflicts.${key}`);
  return conflicts;
}

export function parseNeeds(value: unknown, count: number): WorkloadReportResult[] {
  const { results } = parseResults<WorkloadReportsResponse>(value, count);
  for (const result of results) need("problem" in result || typeof result.applied === "boolean", "applied");
  return results;
}

export function parsePort(value: unknown): Port {
  need(isObject(value), "port");
  const port = value as unknown as Port;
  for (const key of ["name", "id", "network", "mac"] as const) need(typeof port[key] === "string", `port.${key}`);
  need(Number.isInteger(port.epoch), "port.epoch");
  const { inactiveBinding } = port;
  if (inactiveBinding) need(Number.isInteger(inactiveBinding.epoch), "port.inactiveBinding.epoch");
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

export function parseNetworks(value: unknown): Network[] {
  return parseWith<NetworkList>(value, "networks").networks;
}

export function parsePutNetwork(value: unknown): PutNetworkResponse {
  return parseWith<PutNetworkResponse>(value, "outcome");
}

export function parseEventList(value: unknown): EventList {
  return parseWith<EventList>(value, "events");
}

export function parseFindings(value: unknown): { what: string; where: string }[] {
  return parseWith<{ findings: { what: string; where: string }[] }>(value, "findings").findings;
}

export function parseImport(value: unknown): ImportResponse {
  return parseWith<ImportResponse>(value, "digest");
}

export function parseClusters(value: unknown): Cluster[] {
  return parseWith<ClusterList>(value, "clusters").clusters;
}

export function parseCluster(value: unknown): Cluster {
  return parseWith<Cluster>(value, "uid");
}

export function parsePurge(value: unknown): PurgeResponse {
  return parseWith<PurgeResponse>(value, "deleted");
}

/** For answers that are only printed: the key that shows their type is enough. */
function parseWith<T>(value: unknown, key: keyof T & string): T {
  need(isObject(value) && key in value, key);
  return value as T;
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

/**
 * Returns the server's own problem, or an error derived from the status if the answer is no problem document. `retryAfter`
 * is the header's value, which counts if the problem has none.
 */
export function parseFailure(status: number, body: unknown, url: string, retryAfter?: string): IpamError {
  // A date (RFC 9110, section 10.2.3) is ignored, because the clocks may differ.
  const asked = /^\d{1,9}$/.test(retryAfter ?? "") ? { retryAfterSeconds: Number(retryAfter) } : {};
  return isProblem(body) ? IpamError.fromProblem({ ...asked, ...body }) : unexpectedAnswer(status, url, asked);
}

/** 429 comes from proxies: the IPAM itself answers 503. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  401: "unauthenticated",
  403: "forbidden",
  429: "overloaded",
  503: "unavailable",
};

export function unexpectedAnswer(status: number, url: string, details: IpamErrorDetails = {}): IpamError {
  const message = `${url} answered ${status} without saying why: check that a Mooring IPAM listens there`;
  const cause = new UnexpectedAnswerError(message, { status });
  return new IpamError(CODES[status] ?? "internal", message, { ...details, cause });
}

/** Returns undefined for text that is no JSON; the status then decides. */
export function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
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
  if (holds) return;
  const message = `the IPAM's answer has no valid "${field}": check both ends' versions`;
  throw new IpamError("internal", message, { cause: new UnexpectedAnswerError(message, { missingField: field }) });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function parseRecovery(value: unknown): Recovery {
  return parseWith<Recovery>(value, "active");
}
