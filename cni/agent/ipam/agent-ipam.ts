import { createIpamClient, type IpamClient } from "../../../ipam-server/client/client.ts";
import type { RetryPolicy } from "../../../ipam-server/client/retry-policy.ts";
import type {
  Activation,
  Claim,
  ClaimResult,
  MooringEvent,
  Network,
  Port,
  PortAttachment,
  Recovery,
  RecoveryReport,
  Release,
  ReleaseResult,
  Report,
  ReportResult,
} from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { BatchQueue } from "./batch-queue.ts";
import { ClusterCheck, type OwnCluster } from "./cluster-check.ts";

/** The agent's IPAM client. Items that are sent at the same time share a request. */
export interface AgentIpam extends IpamClient {
  readNetwork(name: string): Promise<Network>;
  /** Returns what is left of the recovery after a restore. */
  reportRecovery(report: RecoveryReport): Promise<Recovery>;
  /** Makes an INACTIVE binding the ACTIVE one. */
  activate(activation: Activation): Promise<PortAttachment>;
  /** Returns all ports with a binding on this host, ACTIVE or INACTIVE. Rejects if a page cannot be read. */
  readPortsOfHost(host: string): Promise<Port[]>;
  /** Returns the sequence number of the newest event. */
  readLastSeq(): Promise<number>;
  /**
   * Streams events with seq > `after` for ports bound to `host`, or just released or moved from it. Reconnects and resumes
   * until the signal aborts. `onError` gets each break; `conflict` means another database: compare everything, start again.
   */
  followEvents(
    host: string,
    after: number,
    onEvent: (event: MooringEvent) => void,
    onError: (error: IpamError) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** True if the IPAM answered the last request, also with an error. */
  readonly isReachable: boolean;
  /** Why the IPAM refuses this node's cluster; undefined: it does not. */
  readonly clusterRefusal: string | undefined;
  /** Calls back each time the IPAM becomes reachable again. */
  onReachable(listener: () => void): void;
}

export interface AgentIpamOptions {
  url: string;
  tokenFile?: string;
  caFile?: string;
  /** Bounds a claim with its retries. */
  timeoutMs: number;
  /** Ends requests in flight, except releases and reports. */
  signal?: AbortSignal;
  /** Checked before claims, and before bindings are compared. Absent: no check. */
  cluster?: OwnCluster;
}

/** Below the server's limit of 1000, because smaller requests are answered sooner. */
const MAX_ITEMS = 200;

export function createAgentIpam(options: AgentIpamOptions): AgentIpam {
  const { url, tokenFile, caFile, timeoutMs, signal, cluster } = options;
  const client = createIpamClient({
    url,
    timeoutMs,
    userAgent: "mooring-agent",
    ...(tokenFile !== undefined && { tokenFile }),
    ...(caFile !== undefined && { caFile }),
    ...(signal && { signal }),
  });
  const check = cluster && new ClusterCheck(cluster, client, () => performance.now());
  let isReachable = true;
  const listeners: (() => void)[] = [];

  /** An error answer also proves that the IPAM is reachable. */
  const trackReachability = async <T>(exchange: Promise<T>): Promise<T> => {
    try {
      const answer = await exchange;
      setReachable(true);
      return answer;
    } catch (error) {
      const { code } = IpamError.from(error);
      setReachable(code !== "unavailable" && code !== "internal");
      throw error;
    }
  };
  const setReachable = (now: boolean) => {
    const isBack = now && !isReachable;
    isReachable = now;
    if (isBack) for (const listener of listeners) listener();
  };
  /** One invalid claim fails the request, so that a failed batch is bisected to isolate it. */
  const claimAll = async (items: Claim[]): Promise<ClaimResult[]> => {
    try {
      return await trackReachability(client.claimAll(items));
    } catch (error) {
      const refusal = IpamError.from(error);
      if (refusal.code !== "invalid_request") throw error;
      if (items.length === 1) return [{ problem: refusal.toProblem() }];
      const half = items.length >> 1;
      return [...(await claimAll(items.slice(0, half))), ...(await claimAll(items.slice(half)))];
    }
  };
  const claims = new BatchQueue<Claim, ClaimResult>({
    maxItems: MAX_ITEMS,
    async send(items) {
      await check?.assertOwn();
      return claimAll(items);
    },
  });
  /** Batches only items with the same timeout and retries. */
  const queueByPolicy = <I, R>(send: (items: I[], policy: RetryPolicy | undefined) => Promise<R[]>) => {
    const queues = new Map<string, BatchQueue<I, R>>();
    return (items: I[], policy: RetryPolicy | undefined): Promise<R[]> => {
      const key = policy === undefined ? "" : `${policy.timeoutMs}/${policy.retries}`;
      let queue = queues.get(key);
      queue ??= new BatchQueue({ maxItems: MAX_ITEMS, send: batch => trackReachability(send(batch, policy)) });
      queues.set(key, queue);
      return Promise.all(items.map(item => (queue as BatchQueue<I, R>).push(item)));
    };
  };

  return {
    get isReachable() {
      return isReachable;
    },
    get clusterRefusal() {
      return check?.refusal;
    },
    onReachable: listener => void listeners.push(listener),
    async claim(claim) {
      const result = await claims.push(claim);
      if ("problem" in result) throw IpamError.fromProblem(result.problem);
      return result;
    },
    async activate(activation) {
      const [result] = await trackReachability(client.activate([activation]));
      if (result === undefined) throw new IpamError("internal", "the IPAM answered an activation with no result");
      if ("problem" in result) throw IpamError.fromProblem(result.problem);
      return result;
    },
    release: queueByPolicy<Release, ReleaseResult>(client.release),
    report: queueByPolicy<Report, ReportResult>(client.report),
    reportRecovery: report => trackReachability(client.reportRecovery(report)).catch(withoutRecovery),
    readPort: name => trackReachability(client.readPort(name)),
    readNetwork: name => trackReachability(client.readNetwork(name)),
    ready: () => trackReachability(client.ready()),
    readLastSeq: () => trackReachability(client.readLastSeq()),
    async readPortsOfHost(host) {
      await check?.assertOwn();
      return trackReachability(client.listPorts({ host }));
    },
    followEvents: (host, after, onEvent, onError, signal) =>
      client.followEvents({ after, host }, onEvent, onError, signal),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}

/** A server of an earlier release, which has no recovery. */
function withoutRecovery(error: unknown): Recovery {
  if (error instanceof IpamError && error.code === "not_found") return { active: false };
  throw error;
}
