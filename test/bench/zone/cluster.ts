import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../store/support/random.ts";
import type { Fleet } from "./fleet.ts";
import { ZoneModel } from "./model.ts";
import { type ZonePod, zonePod } from "./pod.ts";

/** Of a node, as scheduler and kubelet see it. */
interface Node {
  name: string;
  isUp: boolean;
  /** Pods that run or start here, by port name. */
  pods: Map<string, ZonePod>;
}

/**
 * Plays Kubernetes: which pod is where, and what is done to it next. A StatefulSet's pod starts again only after
 * its old one has ended; a Deployment's is replaced by another one at once.
 */
export class ZoneCluster {
  readonly model = new ZoneModel();
  readonly #fleet: Fleet;
  readonly #random: Random;
  readonly #nodes: Node[];
  readonly #stickyShare: number;
  /** Replacements that are under way. */
  readonly #running = new Set<Promise<void>>();
  readonly #failures: string[] = [];
  #pods = 0;
  #lives = 0;

  constructor(fleet: Fleet, names: readonly string[], random: Random, stickyShare: number) {
    this.#fleet = fleet;
    this.#random = random;
    this.#nodes = names.map(name => ({ name, isUp: true, pods: new Map() }));
    this.#stickyShare = stickyShare;
  }

  /** What could not be done at all. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  get nodeNames(): string[] {
    return this.#nodes.map(({ name }) => name);
  }

  podsOf(names: ReadonlySet<string>): number {
    return this.#nodes.filter(({ name }) => names.has(name)).reduce((sum, { pods }) => sum + pods.size, 0);
  }

  async startAgents(): Promise<void> {
    await Promise.all(this.#nodes.map(({ name }) => this.#fleet.start(name)));
  }

  /** New pods, spread evenly over the nodes; a kubelet starts a few at a time. */
  async fill(count: number, atOnceOnANode: number): Promise<void> {
    const perNode = Math.ceil(count / this.#nodes.length);
    let left = count;
    await Promise.all(
      this.#nodes.map(async node => {
        const mine = Math.min(perNode, left);
        left -= mine;
        const pods = Array.from({ length: mine }, () => this.#newPod());
        const next = pods[Symbol.iterator]();
        const lane = async () => {
          for (const pod of next) await this.#start(pod, node);
        };
        await Promise.all(Array.from({ length: atOnceOnANode }, lane));
      }),
    );
  }

  /** Ends random pods at this rate, each to be replaced elsewhere, until the signal aborts; answers how many. */
  async churn(podsPerSecond: number, signal: AbortSignal): Promise<number> {
    const startedAt = performance.now();
    let begun = 0;
    while (!signal.aborted) {
      const due = Math.floor(((performance.now() - startedAt) / 1000) * podsPerSecond);
      for (; begun < due; begun++) this.#replaceRandom();
      await sleep(20, undefined, { signal }).catch(() => undefined);
    }
    return begun;
  }

  /** All pods of the node go elsewhere, its agent is restarted, and it is free for pods again. */
  async restart(name: string, downMs: number, signal: AbortSignal): Promise<void> {
    const node = this.#nodeOf(name);
    node.isUp = false;
    await Promise.all([...node.pods.values()].map(pod => this.#replace(pod, node)));
    await this.#fleet.stop(name, "agent");
    await sleep(downMs, undefined, { signal }).catch(() => undefined);
    await this.#fleet.start(name);
    node.isUp = true;
  }

  /** The nodes lose power at one moment; their pods start elsewhere within `withinMs`. Resolves when all have. */
  async lose(names: readonly string[], withinMs: number): Promise<void> {
    const lost = names.map(name => this.#nodeOf(name));
    for (const node of lost) node.isUp = false;
    const pods = lost.flatMap(node => [...node.pods.values()]);
    for (const node of lost) node.pods.clear();
    await Promise.all(lost.map(({ name }) => this.#fleet.stop(name, "crash")));
    for (const pod of pods) this.model.gone(pod);
    await Promise.all(
      pods.map(async pod => {
        await sleep(this.#random.next() * withinMs);
        await this.#start(this.#nextLife(pod), this.#pickNode());
      }),
    );
  }

  async restore(names: readonly string[]): Promise<void> {
    for (const name of names) {
      await this.#fleet.start(name);
      this.#nodeOf(name).isUp = true;
    }
  }

  /** Every replacement that was begun is done, and every agent has nothing left to do. */
  async settled(timeoutMs: number): Promise<void> {
    const late = AbortSignal.timeout(timeoutMs);
    while (this.#running.size > 0) {
      if (late.aborted) throw new Error(`${this.#running.size} pods were not replaced within ${timeoutMs} ms`);
      await Promise.race([...this.#running, sleep(500)]);
    }
    await this.#fleet.settled(timeoutMs);
  }

  #replaceRandom(): void {
    const nodes = this.#nodes.filter(({ isUp, pods }) => isUp && pods.size > 0);
    // In an outage all of a small zone's pods may be waiting already.
    if (nodes.length === 0) return;
    const node = this.#random.pick(nodes);
    const pod = this.#random.pick([...node.pods.values()]);
    const work: Promise<void> = this.#replace(pod, node).finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  async #replace(pod: ZonePod, node: Node): Promise<void> {
    node.pods.delete(pod.name);
    const next = this.#nextLife(pod);
    const end = async () => {
      this.model.gone(pod);
      await this.#fleet.del(node.name, pod);
    };
    if (pod.isSticky) {
      await end();
      await this.#start(next, this.#pickNode());
    } else {
      await Promise.all([end(), this.#start(next, this.#pickNode())]);
    }
  }

  async #start(pod: ZonePod, node: Node): Promise<void> {
    try {
      const port = await this.#fleet.add(node.name, pod);
      this.model.added(pod, node.name, port);
      // From now on it can be chosen to end.
      node.pods.set(pod.name, pod);
    } catch (error) {
      this.#failures.push(`${pod.name} on ${node.name}: ${error instanceof Error ? error.message : error}`);
    }
  }

  #newPod(): ZonePod {
    const index = this.#pods++;
    return zonePod(index, 0, this.#random.next() < this.#stickyShare);
  }

  #nextLife({ index, isSticky }: ZonePod): ZonePod {
    return zonePod(index, ++this.#lives, isSticky);
  }

  #pickNode(): Node {
    return this.#random.pick(this.#nodes.filter(({ isUp }) => isUp));
  }

  #nodeOf(name: string): Node {
    const node = this.#nodes.find(each => each.name === name);
    if (node === undefined) throw new Error(`there is no node ${name}`);
    return node;
  }
}
