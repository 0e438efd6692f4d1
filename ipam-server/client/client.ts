import { ERROR_CODES } from "../contract/error-codes.ts";
import type {
  Claim,
  ClaimResult,
  Network,
  Port,
  PortAttachment,
  PortList,
  Release,
  ReleaseResult,
  Report,
  ReportResult,
} from "../contract/index.ts";
import { IpamError } from "../contract/ipam-error.ts";
import {
  parseClaims,
  parseFailure,
  parseLastSeq,
  parseNetwork,
  parsePort,
  parsePortList,
  parseReleases,
  parseReports,
} from "./answers.ts";
import { BACKOFF_MS, buildSingleAttempt, MAX_RETRIES, type RetryPolicy } from "./retry-policy.ts";
import { openTransport, type Transport, type TransportOptions } from "./transport.ts";
import { TransportError } from "./transport-error.ts";

/**
 * What the verbs ask of the IPAM. Every call has a deadline, is repeated within it while the server cannot be reached or
 * says 503 (all of them are idempotent), and rejects with IpamError: `unavailable` when no answer came.
 */
export interface IpamClient extends AsyncDisposable {
  claim(claim: Claim): Promise<PortAttachment>;
  /** Results come in request order; a problem of one item is in its result. */
  release(releases: Release[], policy?: RetryPolicy): Promise<ReleaseResult[]>;
  report(reports: Report[], policy?: RetryPolicy): Promise<ReportResult[]>;
  readPort(name: string): Promise<Port>;
  readNetwork(name: string): Promise<Network>;
  /** Rejects when the server cannot take a claim now. */
  ready(): Promise<void>;
}

/** As the agent asks: many at once. */
export interface BatchIpamClient extends IpamClient {
  /** Results come in request order; a problem of one item is in its result. */
  claimAll(claims: Claim[]): Promise<ClaimResult[]>;
  /** One page of `GET /v1/ports`; the query as text. */
  readPorts(query: string): Promise<PortList>;
  /** The newest event's number. */
  readLastSeq(): Promise<number>;
}

export interface IpamClientOptions extends TransportOptions {
  /** The budget of a call with all its repetitions. */
  timeoutMs: number;
  /** Ends every wait for what the caller wants; releases and reports are made all the same, because they undo or conclude. */
  signal?: AbortSignal;
}

/** Opens nothing before the first call, so that a DEL cleans up even when the way to the IPAM is misconfigured. */
export function createIpamClient(options: IpamClientOptions): BatchIpamClient {
  let opened: Promise<Transport> | undefined;
  const transport = () => {
    // A file that could not be read may be there at the next call: an agent asks for days.
    opened ??= openTransport(options).catch(error => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  const { timeoutMs } = options;
  const defaultPolicy: RetryPolicy = { timeoutMs, retries: MAX_RETRIES };
  const { signal: _signal, ...unending } = options;
  const conclude = <T>(path: string, body: unknown, parse: (value: unknown) => T, policy = defaultPolicy) =>
    call(transport, unending, { method: "POST", path, body: JSON.stringify(body) }, parse, policy);
  const get = <T>(path: string, parse: (value: unknown) => T, policy = defaultPolicy) =>
    call(transport, options, { method: "GET", path }, parse, policy);

  const claimAll = (claims: Claim[]) =>
    call(
      transport,
      options,
      { method: "POST", path: "/v1/claims", body: JSON.stringify({ claims }) },
      value => parseClaims(value, claims.length),
      defaultPolicy,
    );

  return {
    claimAll,
    async claim(claim) {
      const [result] = await claimAll([claim]);
      if (result === undefined) throw new IpamError("internal", "the IPAM answered a claim with nothing");
      if ("problem" in result) throw IpamError.fromProblem(result.problem);
      return result;
    },
    readPorts: query => get(`/v1/ports?${query}`, parsePortList),
    readLastSeq: () => get("/v1/events?limit=1", parseLastSeq),
    release: (releases, policy) =>
      conclude("/v1/releases", { releases }, value => parseReleases(value, releases.length), policy),
    report: (reports, policy) =>
      conclude("/v1/reports", { reports }, value => parseReports(value, reports.length), policy),
    readPort: name => get(`/v1/ports/${encodeURIComponent(name)}`, parsePort),
    readNetwork: name => get(`/v1/networks/${encodeURIComponent(name)}`, parseNetwork),
    ready: () => get("/readyz", () => undefined, buildSingleAttempt(timeoutMs)),
    async [Symbol.asyncDispose]() {
      const toClose = await opened?.catch(() => undefined);
      await toClose?.[Symbol.asyncDispose]();
    },
  };
}

interface HttpRequest {
  method: string;
  path: string;
  body?: string;
}

async function call<T>(
  open: () => Promise<Transport>,
  { url, signal }: IpamClientOptions,
  { method, path, body }: HttpRequest,
  parse: (value: unknown) => T,
  { timeoutMs, retries }: RetryPolicy,
): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const deadline = performance.now() + timeoutMs;
  const ended = signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
  let maybeReceived = false;
  for (let attempt = 0; ; attempt++) {
    let failure: IpamError;
    let waitMs = BACKOFF_MS[attempt];
    try {
      const transport = await open();
      const answer = await transport.exchange(method, path, body, ended, deadline - performance.now());
      const value = parseJson(answer.body);
      if (answer.status >= 200 && answer.status < 300) return parse(value);
      failure = parseFailure(answer.status, value, url);
      if (ERROR_CODES[failure.code].http !== 503) throw failure;
      const { retryAfterSeconds } = failure.details;
      // Not before the server said, and spread, so that those turned away together do not come back together.
      if (retryAfterSeconds !== undefined) waitMs = retryAfterSeconds * 1000 * (1 + Math.random() / 2);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      maybeReceived ||= error.maybeReceived;
      failure = describeUnreachable(url, error, maybeReceived, timeout.aborted ? timeoutMs : undefined);
    }
    if (ended.aborted || attempt >= retries || waitMs === undefined) throw failure;
    if (!(await wait(waitMs, ended))) throw failure;
  }
}

function describeUnreachable(
  url: string,
  error: TransportError,
  maybeReceived: boolean,
  timedOutMs?: number,
): IpamError {
  const why = timedOutMs === undefined ? error.message : `no answer within ${timedOutMs} ms`;
  return new IpamError(
    "unavailable",
    `the IPAM at ${url} cannot be reached (${why}): check that it runs and the way to it`,
    {
      cause: new TransportError(error.message, maybeReceived, error.cause),
    },
  );
}

/** An answer that is not JSON is told apart by its status alone. */
function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** False when the call ended first. */
function wait(delayMs: number, ended: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const stop = () => resolve(false);
  const timer = setTimeout(() => resolve(true), delayMs);
  ended.addEventListener("abort", stop, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    ended.removeEventListener("abort", stop);
  });
}
