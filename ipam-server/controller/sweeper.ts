import type { FullIpamClient } from "../client/client.ts";
import type { Port, Release, Workload } from "../contract/index.ts";
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
  ipam: Pick<FullIpamClient, "release" | "deletePortIfUnchanged">;
  brake: Pick<Brake, "admit">;
  /** Checked before every release and deletion: false once this replica no longer leads. */
  mayAct(): boolean;
  now(): number;
  /** After a port or binding was reclaimed; receives the port as it was before. */
  onReclaimed?(due: Reclaim): void;
  /** Called for a namespace, batch or port that failed; the others continue, and the next pass retries it. */
  onError?(error: unknown, what: string): void;
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
    const admitted = await this.#options.brake.admit(confirmed, failed, known.length);
    return (await this.#release(admitted)) + (await this.#delete(admitted));
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

  async #release(due: readonly Reclaim[]): Promise<number> {
    const items = due.filter(each => each.decision.action === "release");
    let done = 0;
    for (let from = 0; from < items.length && this.#options.mayAct(); from += BATCH) {
      const batch = items.slice(from, from + BATCH);
      try {
        const results = await this.#options.ipam.release(batch.map(toRelease));
        for (const [index, result] of results.entries()) {
          const item = batch[index];
          if (item === undefined) continue;
          this.#options.ports.markStale(item.port.name);
          if ("problem" in result) this.#options.onError?.(result.problem, `release ${item.port.name}`);
          else if (result.released) done += this.#report(item);
        }
      } catch (error) {
        this.#options.onError?.(error, `release ${batch.length} bindings`);
      }
    }
    return done;
  }

  async #delete(due: readonly Reclaim[]): Promise<number> {
    let done = 0;
    const items = due.filter(each => each.decision.action === "delete");
    await inParallel(16, items, async item => {
      const { name, id, epoch } = item.port;
      if (!this.#options.mayAct()) return;
      this.#options.ports.markStale(name);
      try {
        if (await this.#options.ipam.deletePortIfUnchanged(name, { id, epoch })) done += this.#report(item);
      } catch (error) {
        this.#options.onError?.(error, `delete ${name}`);
      }
    });
    return done;
  }

  #report(item: Reclaim): number {
    this.#options.onReclaimed?.(item);
    return 1;
  }
}

function toRelease({ port, decision }: Reclaim): Release {
  if (decision.action !== "release") throw new TypeError("not a release");
  const { host, ownerUid, sandbox } = decision.binding;
  return { name: port.name, host, ownerUid, ...(sandbox && { sandbox }) };
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
