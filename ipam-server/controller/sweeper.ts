import type { Port, Release, Workload } from "../contract/index.ts";
import type { KubeApi } from "../kube/kube-api.ts";
import { inParallel } from "../process/in-parallel.ts";
import { classifyPort, type Due, decideGone, isLease, type Suspects } from "./decide-gone.ts";
import type { IpamClient } from "./ipam-client.ts";
import type { KubeView, WatchedKind } from "./kube-view.ts";
import { fetchFreshNodes, fetchFreshView } from "./kube-watch.ts";

export interface SweeperOptions {
  cluster: string;
  graceMs: number;
  ports: { refresh(): Promise<Iterable<Port>>; markStale(name: string): void };
  watch: { view(): KubeView };
  api: Pick<KubeApi, "list">;
  ipam: Pick<IpamClient, "release" | "deletePort">;
  /** Asked before every step that takes something away. */
  mayAct(): boolean;
  now(): number;
  /** After something was given back; the port as it was. */
  onGivenBack?(due: Due): void;
  /** A namespace, a batch or a port that failed; the rest goes on, and this is tried again. */
  onError?(error: unknown, what: string): void;
}

const BATCH = 200;

/** One pass after the other: suspect by the cache, confirm by a fresh read a grace period later, give back by fence. */
export class Sweeper {
  readonly #options: SweeperOptions;
  #suspects: Suspects = new Map();

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  get suspectCount(): number {
    return this.#suspects.size;
  }

  /** What another leader did meanwhile is unknown: all grace periods begin again. */
  forget(): void {
    this.#suspects = new Map();
  }

  /** Returns how many ports and bindings were given back. Rejects when the IPAM cannot be read. */
  async sweep(signal: AbortSignal): Promise<number> {
    const { ports, watch, cluster, now, graceMs } = this.#options;
    // Ports before pods: a pod is there before its claim is, so a binding seen here has its pod in any later look.
    const seen = [...(await ports.refresh())];
    const { suspects, due } = decideGone(seen, watch.view(), cluster, this.#suspects, now(), graceMs);
    this.#suspects = suspects;
    const confirmed = await this.#confirm(due, signal);
    if (signal.aborted || !this.#options.mayAct()) return 0;
    return (await this.#release(confirmed)) + (await this.#delete(confirmed));
  }

  async #confirm(due: readonly Due[], signal: AbortSignal): Promise<Due[]> {
    const confirmed: Due[] = [];
    const byNamespace = Map.groupBy(due, namespaceOf);
    await inParallel(4, [...byNamespace], async ([namespace, items]) => {
      try {
        const view = await this.#look(namespace, items, signal);
        for (const { port, verdict } of items) {
          const again = classifyPort(port, view, this.#options.cluster);
          if (again?.action === verdict.action) confirmed.push({ port, verdict: again });
        }
      } catch (error) {
        const what = namespace === undefined ? "the nodes" : `namespace ${namespace}`;
        this.#options.onError?.(error, `look at ${what} again`);
      }
    });
    return confirmed;
  }

  #look(namespace: string | undefined, items: readonly Due[], signal: AbortSignal): Promise<KubeView> {
    const { api } = this.#options;
    if (namespace === undefined) return fetchFreshNodes(api, signal);
    const kinds = new Set(items.map(({ port }) => port.workload?.kind).filter(isWatched));
    return fetchFreshView(api, namespace, kinds, signal);
  }

  async #release(due: readonly Due[]): Promise<number> {
    const items = due.filter(each => each.verdict.action === "release");
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
          else if (result.released) done += this.#tell(item);
        }
      } catch (error) {
        this.#options.onError?.(error, `release ${batch.length} bindings`);
      }
    }
    return done;
  }

  async #delete(due: readonly Due[]): Promise<number> {
    let done = 0;
    const items = due.filter(each => each.verdict.action === "delete");
    await inParallel(16, items, async item => {
      const { name, id, epoch } = item.port;
      if (!this.#options.mayAct()) return;
      this.#options.ports.markStale(name);
      try {
        if (await this.#options.ipam.deletePort(name, { id, epoch })) done += this.#tell(item);
      } catch (error) {
        this.#options.onError?.(error, `delete ${name}`);
      }
    });
    return done;
  }

  #tell(item: Due): number {
    this.#options.onGivenBack?.(item);
    return 1;
  }
}

function toRelease({ port, verdict }: Due): Release {
  if (verdict.action !== "release") throw new TypeError("not a release");
  const { host, ownerUid, sandbox } = verdict.binding;
  return { name: port.name, host, ownerUid, ...(sandbox && { sandbox }) };
}

/** judgePort only speaks of ports that tell where their pod or workload lives, and of leases, which are a node's. */
function namespaceOf({ port, verdict }: Due): string | undefined {
  if (isLease(port)) return undefined;
  const namespace = verdict.action === "release" ? port.namespace : port.workload?.namespace;
  if (namespace === undefined) throw new TypeError(`port ${port.name} is due without a namespace`);
  return namespace;
}

function isWatched(kind: Workload["kind"] | undefined): kind is WatchedKind {
  return kind !== undefined && kind !== "Pod";
}
