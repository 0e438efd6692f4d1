import type {
  Claim,
  ClaimResult,
  MooringEvent,
  Port,
  Release,
  ReleaseResult,
  Report,
  ReportResult,
} from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { createIpamClient, type IpamClient, type RetryPolicy } from "../../ipam-client.ts";
import { createHeaders } from "../../ipam-transport.ts";
import { BatchQueue } from "./batch-queue.ts";
import { followEvents } from "./event-follower.ts";

/** The IPAM as the agent asks it: what arrives together shares a request; lists and events besides. */
export interface AgentIpam extends IpamClient {
  /** All ports that this host is bound to, all pages or a rejection: never a part. */
  readPortsOfHost(host: string): Promise<Port[]>;
  /** The newest event's number. */
  readLastSeq(): Promise<number>;
  /**
   * Calls back for each event after `after` of what is bound to the host, was, or has just moved away, resuming where the stream broke, until the signal aborts. `onError`
   * hears of each break; `conflict` says that the database is another one: compare everything and start anew.
   */
  followEvents(
    host: string,
    after: number,
    onEvent: (event: MooringEvent) => void,
    onError: (error: IpamError) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Whether the last exchange ended with an answer. */
  readonly isReachable: boolean;
}

export interface AgentIpamOptions {
  url: string;
  tokenFile?: string;
  caFile?: string;
  /** The file's content, for the event stream. */
  ca?: string;
  /** Of a claim with its repetitions. */
  timeoutMs: number;
  /** Ends what is waited for; what concludes or undoes is told all the same. */
  signal?: AbortSignal;
  /** Told when the IPAM answers again after it did not. */
  onBack?(): void;
}

const PAGE = 1000;
/** The server's limit is 1000 items; smaller requests are answered sooner. */
const MAX_ITEMS = 200;

export function createAgentIpam(options: AgentIpamOptions): AgentIpam {
  const { url, tokenFile, caFile, ca, timeoutMs, signal, onBack } = options;
  const client = createIpamClient({
    url,
    timeoutMs,
    ...(tokenFile !== undefined && { tokenFile }),
    ...(caFile !== undefined && { caFile }),
    ...(signal && { signal }),
  });
  let isReachable = true;

  /** Any answer is one, also a refusal. */
  const watched = async <T>(exchange: Promise<T>): Promise<T> => {
    try {
      const answer = await exchange;
      noteReachable(true);
      return answer;
    } catch (error) {
      const { code } = IpamError.from(error);
      noteReachable(code !== "unavailable" && code !== "internal");
      throw error;
    }
  };
  const noteReachable = (now: boolean) => {
    const isBack = now && !isReachable;
    isReachable = now;
    if (isBack) onBack?.();
  };
  /** What is not valid in one claim has the server refuse the whole request: the others' claims must not suffer for it. */
  const claimAll = async (items: Claim[]): Promise<ClaimResult[]> => {
    try {
      return await watched(client.claimAll(items));
    } catch (error) {
      const refusal = IpamError.from(error);
      if (refusal.code !== "invalid_request") throw error;
      if (items.length === 1) return [{ problem: refusal.toProblem() }];
      const half = items.length >> 1;
      return [...(await claimAll(items.slice(0, half))), ...(await claimAll(items.slice(half)))];
    }
  };
  const claims = new BatchQueue<Claim, ClaimResult>({ maxItems: MAX_ITEMS, send: claimAll });
  /** Only what is willing to wait alike travels together. */
  const byPatience = <I, R>(send: (items: I[], patience: RetryPolicy | undefined) => Promise<R[]>) => {
    const queues = new Map<string, BatchQueue<I, R>>();
    return (items: I[], patience: RetryPolicy | undefined): Promise<R[]> => {
      const key = patience === undefined ? "" : `${patience.timeoutMs}/${patience.repeats}`;
      let queue = queues.get(key);
      queue ??= new BatchQueue({ maxItems: MAX_ITEMS, send: batch => watched(send(batch, patience)) });
      queues.set(key, queue);
      return Promise.all(items.map(item => (queue as BatchQueue<I, R>).push(item)));
    };
  };
  const headers = createHeaders(tokenFile);

  return {
    get isReachable() {
      return isReachable;
    },
    async claim(claim) {
      const result = await claims.push(claim);
      if ("problem" in result) throw IpamError.fromProblem(result.problem);
      return result;
    },
    release: byPatience<Release, ReleaseResult>(client.release),
    report: byPatience<Report, ReportResult>(client.report),
    readPort: name => watched(client.readPort(name)),
    readNetwork: name => watched(client.readNetwork(name)),
    ready: () => watched(client.ready()),
    readLastSeq: () => watched(client.readLastSeq()),
    async readPortsOfHost(host) {
      const ports: Port[] = [];
      let cursor: string | undefined;
      do {
        const query = new URLSearchParams({ host, limit: String(PAGE), ...(cursor !== undefined && { cursor }) });
        const page = await watched(client.readPorts(String(query)));
        ports.push(...page.ports);
        cursor = page.nextCursor;
      } while (cursor !== undefined);
      return ports;
    },
    followEvents: (host, after, onEvent, onError, signal) =>
      followEvents({ url, headers, host, ...(ca !== undefined && { ca }) }, after, onEvent, onError, signal),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
