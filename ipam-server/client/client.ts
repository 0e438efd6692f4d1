import type {
  Activation,
  ActivationResult,
  Claim,
  ClaimResult,
  Cluster,
  ClusterRegistration,
  Conflict,
  EventQuery,
  ImportResponse,
  MooringEvent,
  Network,
  NetworkManifest,
  Port,
  PortAttachment,
  PortQuery,
  PortReservation,
  PurgeResponse,
  PutNetworkResponse,
  Recovery,
  RecoveryReport,
  Release,
  ReleaseResult,
  Report,
  ReportResult,
  WorkloadReport,
  WorkloadReportResult,
} from "../contract/index.ts";
import { IpamError } from "../contract/ipam-error.ts";
import * as answers from "./answers.ts";
import { type CallContext, sendCall } from "./call.ts";
import type { EventFilter } from "./event-follower.ts";
import { buildSingleAttempt, MAX_RETRIES, type RetryPolicy } from "./retry-policy.ts";
import type { Download, OpenStream, StreamRequest } from "./streams.ts";
import { openTransport, type Transport, type TransportOptions } from "./transport.ts";

/**
 * The calls of the CNI verbs. Each has a deadline, is retried within it while the server is unreachable or answers 503
 * (all are idempotent), and rejects with IpamError: `unavailable` if no answer came.
 */
export interface IpamClient extends AsyncDisposable {
  claim(claim: Claim): Promise<PortAttachment>;
  /** Returns results in request order; a problem of one item is in its result. */
  release(releases: Release[], policy?: RetryPolicy): Promise<ReleaseResult[]>;
  report(reports: Report[], policy?: RetryPolicy): Promise<ReportResult[]>;
  readPort(name: string): Promise<Port>;
  /** Rejects while the server cannot take a claim. */
  ready(): Promise<void>;
}

/** An inconsistency that the server found in its store. */
export interface Finding {
  what: string;
  where: string;
}

/** All calls of the API, for the agent, the controller and mooringctl. */
export interface FullIpamClient extends IpamClient {
  /** Returns results in request order; a problem of one item is in its result. */
  claimAll(claims: Claim[]): Promise<ClaimResult[]>;
  /** Returns results in request order; a problem of one item is in its result. */
  activate(activations: Activation[]): Promise<ActivationResult[]>;
  /** Returns undefined if no port has this name. */
  findPort(name: string): Promise<Port | undefined>;
  pagePorts(query: PortQuery, signal?: AbortSignal): AsyncGenerator<Port[]>;
  /** Returns all pages. Rejects if one cannot be read. */
  listPorts(query: PortQuery, signal?: AbortSignal): Promise<Port[]>;
  reservePort(name: string, reservation: PortReservation): Promise<{ port: Port; created: boolean }>;
  protectPort(name: string, isProtected: boolean): Promise<Port>;
  deletePort(name: string): Promise<void>;
  /** Returns results in request order; a problem of one item is in its result. */
  reportWorkloads(reports: WorkloadReport[]): Promise<WorkloadReportResult[]>;
  readNetwork(name: string): Promise<Network>;
  listConflicts(): Promise<Conflict[]>;
  clearConflict(address: string, network?: string): Promise<void>;
  listNetworks(label?: string): Promise<Network[]>;
  putNetwork(manifest: NetworkManifest): Promise<PutNetworkResponse>;
  deleteNetwork(name: string): Promise<void>;
  listClusters(): Promise<Cluster[]>;
  /** Rejects with `conflict` if the name belongs to a cluster with another UID. */
  registerCluster(name: string, registration: ClusterRegistration): Promise<Cluster>;
  confirmPass(name: string, pass: string): Promise<Cluster>;
  /** Removes the cluster's ports page by page. */
  purgePorts(cluster: string): AsyncGenerator<PurgeResponse>;
  removeCluster(name: string): Promise<void>;
  readRecovery(): Promise<Recovery>;
  /** Returns what is left of the recovery. */
  reportRecovery(report: RecoveryReport): Promise<Recovery>;
  endRecovery(): Promise<Recovery>;
  /** Returns the sequence number of the newest event. */
  readLastSeq(): Promise<number>;
  /** Oldest first. */
  pageEvents(query: Omit<EventQuery, "limit" | "type">): AsyncGenerator<MooringEvent[]>;
  /** Streams events until the signal aborts. See `followEvents` in event-follower.ts. */
  followEvents(
    filter: EventFilter,
    onEvent: (event: MooringEvent) => void,
    onError: (error: IpamError) => void,
    signal: AbortSignal,
  ): Promise<void>;
  check(): Promise<Finding[]>;
  backup(): Promise<Download>;
  export(): Promise<Download>;
  /** Sends a stream of any length. */
  import(chunks: AsyncIterable<Uint8Array>): Promise<ImportResponse>;
}

interface IpamClientOptions extends TransportOptions {
  /** Bounds a call with its retries. */
  timeoutMs: number;
  /** Default: as often as fits into `timeoutMs`. */
  retries?: number;
  /** Ends calls in flight, except releases and reports, because these undo or complete an operation. */
  signal?: AbortSignal;
  /** Replaces the error that a call rejects with. */
  mapError?(error: IpamError, method: string): Error;
}

const PAGE_SIZE = 1000;
/** Copying a large database takes a while before the first byte of a backup. */
const STALL_MS = 600_000;
const portPath = (name: string) => `/v1/ports/${encodeURIComponent(name)}`;
const clusterPath = (name: string) => `/v1/clusters/${encodeURIComponent(name)}`;
const networkPath = (name: string) => `/v1/networks/${encodeURIComponent(name)}`;

/** Opens no connection and no file before the first call, so that a DEL cleans up even if the IPAM is misconfigured. */
export function createIpamClient(options: IpamClientOptions): FullIpamClient {
  const { url, timeoutMs, retries = MAX_RETRIES, signal, mapError = error => error } = options;
  const defaultPolicy: RetryPolicy = { timeoutMs, retries };
  let opened: Promise<Transport> | undefined;
  const open = () => {
    // Opened again after a failure, because a file that cannot be read now may exist later.
    opened ??= openTransport(options).catch(error => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  let streams: Promise<OpenStream> | undefined;
  const openStreams = () => {
    streams ??= import("./streams.ts").then(({ createStreams }) => createStreams(options));
    return streams;
  };
  const mapped = async <T>(method: string, call: Promise<T>): Promise<T> => {
    try {
      return await call;
    } catch (error) {
      throw error instanceof IpamError ? mapError(error, method) : error;
    }
  };

  type Parse<T> = (value: unknown, status: number) => T;
  type Method = "GET" | "PUT" | "POST" | "DELETE";
  const send = <T>(
    method: Method,
    path: string,
    body: unknown,
    parse: Parse<T>,
    policy = defaultPolicy,
    stop = signal,
  ) => {
    const context: CallContext = { url, open, ...(stop && { signal: stop }) };
    const request = { method, path, ...(body !== undefined && { body: JSON.stringify(body) }) };
    return mapped(method, sendCall(context, request, parse, policy));
  };
  const get = <T>(path: string, parse: Parse<T>, stop = signal) =>
    send("GET", path, undefined, parse, defaultPolicy, stop);
  /** Not ended by the client's signal. */
  const complete = <T>(path: string, body: unknown, parse: Parse<T>, policy = defaultPolicy) =>
    mapped("POST", sendCall({ url, open }, { method: "POST", path, body: JSON.stringify(body) }, parse, policy));
  const stream = async (request: StreamRequest): Promise<Download> => {
    const { lengthBytes, chunks } = await mapped(request.method, (await openStreams())(request));
    return { lengthBytes, chunks: mapChunks(chunks, error => mapError(error, request.method)) };
  };

  const claimAll = (claims: Claim[]) =>
    send("POST", "/v1/claims", { claims }, value => answers.parseClaims(value, claims.length));
  const readPort = (name: string) => get(portPath(name), answers.parsePort);
  const ignore = () => undefined;

  async function* pagePorts(query: PortQuery, stop = signal): AsyncGenerator<Port[]> {
    let cursor: string | undefined;
    do {
      const path = `/v1/ports${formatQuery({ ...query, limit: PAGE_SIZE, cursor })}`;
      const page = await get(path, answers.parsePortList, stop);
      yield page.ports;
      cursor = page.nextCursor;
    } while (cursor !== undefined);
  }

  return {
    claimAll,
    async claim(claim) {
      const [result] = await claimAll([claim]);
      if (result === undefined) throw new IpamError("internal", "the IPAM answered a claim with no result");
      if ("problem" in result) throw IpamError.fromProblem(result.problem);
      return result;
    },
    activate: activations =>
      send("POST", "/v1/activations", { activations }, value => answers.parseActivations(value, activations.length)),
    release: (releases, policy) =>
      complete("/v1/releases", { releases }, value => answers.parseReleases(value, releases.length), policy),
    report: (reports, policy) =>
      complete("/v1/reports", { reports }, value => answers.parseReports(value, reports.length), policy),
    readPort,
    findPort: name => readPort(name).catch(error => valueUnless(error, undefined, "not_found")),
    pagePorts,
    async listPorts(query, stop) {
      const ports: Port[] = [];
      for await (const page of pagePorts(query, stop)) ports.push(...page);
      return ports;
    },
    reservePort: (name, reservation) =>
      send("PUT", portPath(name), reservation, (value, status) => ({
        port: answers.parsePort(value),
        created: status === 201,
      })),
    protectPort: (name, isProtected) => send("PUT", portPath(name), { protected: isProtected }, answers.parsePort),
    deletePort: name => send("DELETE", portPath(name), undefined, ignore),
    reportWorkloads: needs => complete("/v1/needs", { needs }, value => answers.parseNeeds(value, needs.length)),
    readNetwork: name => get(networkPath(name), answers.parseNetwork),
    listNetworks: label => get(`/v1/networks${formatQuery({ label })}`, answers.parseNetworks),
    listConflicts: () => get("/v1/conflicts", answers.parseConflicts),
    clearConflict: (address, network) =>
      send("DELETE", `/v1/conflicts/${encodeURIComponent(address)}${formatQuery({ network })}`, undefined, ignore),
    putNetwork: manifest => send("PUT", networkPath(manifest.metadata.name), manifest, answers.parsePutNetwork),
    deleteNetwork: name => send("DELETE", networkPath(name), undefined, ignore),
    listClusters: () => get("/v1/clusters", answers.parseClusters),
    registerCluster: (name, registration) => send("PUT", clusterPath(name), registration, answers.parseCluster),
    confirmPass: (name, pass) => send("POST", `${clusterPath(name)}/confirmations`, { pass }, answers.parseCluster),
    async *purgePorts(cluster) {
      let cursor: string | undefined;
      do {
        const body = cursor === undefined ? {} : { cursor };
        const page = await send("POST", `${clusterPath(cluster)}/purge`, body, answers.parsePurge);
        yield page;
        cursor = page.nextCursor;
      } while (cursor !== undefined);
    },
    removeCluster: name => send("DELETE", clusterPath(name), undefined, ignore),
    readRecovery: () => get("/v1/recovery", answers.parseRecovery),
    reportRecovery: report => send("POST", "/v1/recovery/reports", report, answers.parseRecovery),
    endRecovery: () => send("DELETE", "/v1/recovery", undefined, answers.parseRecovery),
    ready: () => send("GET", "/readyz", undefined, ignore, buildSingleAttempt(timeoutMs)),
    readLastSeq: () => get("/v1/events?limit=1", answers.parseLastSeq),
    async *pageEvents(query) {
      let after = query.after;
      for (;;) {
        const path = `/v1/events${formatQuery({ ...query, after, limit: PAGE_SIZE })}`;
        const { events, nextAfter } = await get(path, answers.parseEventList);
        yield events;
        if (nextAfter === undefined && events.length < PAGE_SIZE) return;
        after = nextAfter ?? events.at(-1)?.seq;
      }
    },
    async followEvents(filter, onEvent, onError, stop) {
      const { followEvents } = await import("./event-follower.ts");
      await followEvents(await openStreams(), filter, onEvent, onError, stop);
    },
    check: () => get("/v1/check", answers.parseFindings),
    backup: () => stream({ method: "GET", path: "/v1/backup", accept: "*/*", stallMs: STALL_MS }),
    export: () => stream({ method: "GET", path: "/v1/export", accept: "*/*", stallMs: STALL_MS }),
    async import(chunks) {
      const { TRANSFER_TYPE } = await import("../contract/transfer.ts");
      const body = { contentType: TRANSFER_TYPE, chunks };
      const answer = await stream({ method: "POST", path: "/v1/import", accept: "*/*", body, stallMs: STALL_MS });
      const bytes: Uint8Array[] = [];
      for await (const chunk of answer.chunks) bytes.push(chunk);
      const value = answers.parseJson(Buffer.concat(bytes).toString("utf8"));
      return mapped("POST", Promise.resolve(value).then(answers.parseImport));
    },
    async [Symbol.asyncDispose]() {
      const toClose = await opened?.catch(() => undefined);
      await toClose?.[Symbol.asyncDispose]();
    },
  };
}

async function* mapChunks(
  chunks: AsyncIterable<Uint8Array>,
  map: (error: IpamError) => Error,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw error instanceof IpamError ? map(error) : error;
  }
}

/** Returns the value for these codes; throws the error for others. */
function valueUnless<T>(error: unknown, value: T, ...codes: string[]): T {
  if (error instanceof IpamError && codes.includes(error.code)) return value;
  throw error;
}

function formatQuery(query: Record<string, string | number | undefined>): string {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) given.set(key, String(value));
  return given.size === 0 ? "" : `?${given}`;
}
