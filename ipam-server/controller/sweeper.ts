import type { FullIpamClient } from "../client/client.ts";
import type { Port, Release, Workload, WorkloadReport } from "../contract/index.ts";
import type { KubeApi } from "../kube/kube-api.ts";
import { inParallel } from "../process/in-parallel.ts";
import type { Brake } from "./brake.ts";
import { classifyPort, decideReclaims, isLease, type Reclaim, type SuspectedSince } from "./decide-reclaims.ts";
import type { KubeView, WatchedKind } from "./kube-view.ts";
import { fetchFreshNodes, fetchFreshView } from "./kube-watch.ts";

export interface SweeperOptions {
  cluster: string;
  graceMs: number;
  ports: { refresh(): Promise<Iterable<Port>>; markStale(name: string): void };
  watch: { view(): KubeView };
  api: Pick<KubeApi, "list">;
  ipam: Pick<FullIpamClient, "release" | "reportWorkloads">;
  brake: Pick<Brake, "admit">;
  /** Rejects with `conflict` if the cluster's name belongs to another cluster. Nothing is changed before. */
  assertOwnCluster(): Promise<unknown>;
  /** Checked before every release and deletion: false once this replica no longer leads. */
  mayAct(): boolean;
  now(): number;
  /** After a binding ended or a workload was reported; receives the port as it was before. */
  onReclaimed?(due: Reclaim, outcome: Outcome): void;
  /** Called for a namespace, batch or port that failed; the others continue, and the next pass retries it. */
  onError?(error: unknown, what: string): void;
}

/** What became of the port. */
export interface Outcome {
  deleted: boolean;
  /** Until when the port is kept. */
  expiresAt?: string;
}

const BATCH = 200;

/**
 * Reclaims ports and bindings that no workload uses. Each pass marks suspects from the cache, confirms those older than
 * the grace period by a fresh read, and reclaims them with a precondition (owner, or port id and epoch).
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  #suspects: SuspectedSince = new Map();

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  get suspectCount(): number {
    return this.#suspects.size;
  }

  /** Restarts all grace periods, because another leader may have changed ports in between. */
  reset(): void {
    this.#suspects = new Map();
  }

  /** Returns how many ports and bindings were reclaimed. Rejects when the IPAM cannot be read. */
  async sweep(signal: AbortSignal): Promise<number> {
    const { ports, watch, cluster, now, graceMs } = this.#options;
    // Ports are read before pods: a pod exists before its claim, so every binding read here has its pod in a later
    // view.
    const known = [...(await ports.refresh())];
    const { suspects, due } = decideReclaims(known, watch.view(), cluster, this.#suspects, now(), graceMs);
    this.#suspects = suspects;
    const { confirmed, failed } = await this.#confirm(due, signal);
    if (signal.aborted || !this.#options.mayAct()) return 0;
    await this.#options.assertOwnCluster();
    const releases = confirmed.filter(each => each.decision.action === "release");
    const others = confirmed.filter(each => each.decision.action !== "release");
    // What is only kept for a time, or needed again, can be undone: the brake is for the rest.
    const first = await this.#report(others, false);
    const admitted = await this.#options.brake.admit([...releases, ...first.ending], failed, known.length);
    const released = await this.#release(admitted.filter(each => each.decision.action === "release"));
    const ended = await this.#report(
      admitted.filter(each => each.decision.action !== "release"),
      true,
    );
    return first.done + released + ended.done;
  }

  /** Reads the owners again. `failed` counts those that could not be read. */
  async #confirm(due: readonly Reclaim[], signal: AbortSignal): Promise<{ confirmed: Reclaim[]; failed: number }> {
    const confirmed: Reclaim[] = [];
    let failed = 0;
    const byNamespace = Map.groupBy(due, namespaceOf);
    let nodes: Promise<KubeView> | undefined;
    const readNodes = () => {
      nodes ??= fetchFreshNodes(this.#options.api, signal);
      return nodes;
    };
    await inParallel(4, [...byNamespace], async ([namespace, items]) => {
      try {
        const view = await this.#readFresh(namespace, items, readNodes, signal);
        for (const { port, decision } of items) {
          const again = classifyPort(port, view, this.#options.cluster);
          if (again?.action === decision.action) confirmed.push({ port, decision: again });
        }
      } catch (error) {
        failed += items.length;
        const what = namespace === undefined ? "the nodes" : `namespace ${namespace}`;
        this.#options.onError?.(error, `read ${what} again`);
      }
    });
    return { confirmed, failed };
  }

  async #readFresh(
    namespace: string | undefined,
    items: readonly Reclaim[],
    readNodes: () => Promise<KubeView>,
    signal: AbortSignal,
  ): Promise<KubeView> {
    if (namespace === undefined) return readNodes();
    const kinds = new Set(items.map(({ port }) => port.workload?.kind).filter(isWatched));
    const hasBindings = items.some(({ decision }) => decision.action === "release");
    // Nodes first, as in the cache: a pod that moves to another node meanwhile is in the later list of pods.
    const { nodes } = hasBindings ? await readNodes() : {};
    return { ...(await fetchFreshView(this.#options.api, namespace, kinds, signal)), ...(nodes && { nodes }) };
  }

  #release(items: readonly Reclaim[]): Promise<number> {
    const send = (batch: readonly Reclaim[]) => this.#options.ipam.release(batch.map(toRelease));
    return this.#sendAll("release", items, send, result =>
      "released" in result && result.released ? result : undefined,
    );
  }

  /** `ending`: those that the IPAM would delete at once or soon, and has not because they may not end yet. */
  async #report(items: readonly Reclaim[], mayEnd: boolean): Promise<{ done: number; ending: Reclaim[] }> {
    const ending: Reclaim[] = [];
    const send = (batch: readonly Reclaim[]) =>
      this.#options.ipam.reportWorkloads(batch.map(item => toReport(item, mayEnd)));
    const done = await this.#sendAll("report", items, send, (result, item) => {
      if ("reason" in result && result.reason === "ends") ending.push(item);
      return "applied" in result && result.applied ? result : undefined;
    });
    return { done, ending };
  }

  /** Returns how many were done. A batch or an item that fails is reported, and the next pass retries it. */
  async #sendAll<R extends object>(
    verb: string,
    items: readonly Reclaim[],
    send: (batch: readonly Reclaim[]) => Promise<R[]>,
    toOutcome: (result: R, item: Reclaim) => Outcome | undefined,
  ): Promise<number> {
    const { ports, mayAct, onError, onReclaimed } = this.#options;
    let done = 0;
    for (let from = 0; from < items.length && mayAct(); from += BATCH) {
      const batch = items.slice(from, from + BATCH);
      try {
        for (const [index, result] of (await send(batch)).entries()) {
          const item = batch[index];
          if (item === undefined) continue;
          ports.markStale(item.port.name);
          const outcome = toOutcome(result, item);
          if ("problem" in result) onError?.(result.problem, `${verb} ${item.port.name}`);
          if (outcome === undefined) continue;
          done++;
          onReclaimed?.(item, outcome);
        }
      } catch (error) {
        onError?.(error, `${verb} ${batch.length} ports`);
      }
    }
    return done;
  }
}

function toRelease({ port, decision }: Reclaim): Release {
  if (decision.action !== "release") throw new TypeError("not a release");
  const { host, ownerUid, sandbox } = decision.binding;
  return { name: port.name, host, ownerUid, ...(sandbox && { sandbox }) };
}

function toReport({ port: { name, id, epoch }, decision }: Reclaim, mayEnd: boolean): WorkloadReport {
  if (decision.action === "release") throw new TypeError("not a report");
  return { name, id, epoch, need: decision.need, mayEnd, message: decision.reason };
}

/** Returns the namespace to read again; undefined for a lease, which depends on nodes. */
function namespaceOf({ port, decision }: Reclaim): string | undefined {
  if (isLease(port)) return undefined;
  const namespace = decision.action === "release" ? port.namespace : port.workload?.namespace;
  if (namespace === undefined) throw new TypeError(`port ${port.name} is due without a namespace`);
  return namespace;
}

function isWatched(kind: Workload["kind"] | undefined): kind is WatchedKind {
  return kind !== undefined && kind !== "Pod";
}
