import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Port, PortList } from "../../../ipam-server/contract/index.ts";
import { Random } from "../../store/support/random.ts";
import type { BenchContext } from "../context.ts";
import { type Databases, type Engine, openDatabases } from "../databases/databases.ts";
import { IpamProcess } from "../ipam/ipam-process.ts";
import { ZoneCluster } from "./cluster.ts";
import { Fleet } from "./fleet.ts";
import { Meter, type PhaseFigures } from "./meter.ts";
import { zoneNetworks } from "./pod.ts";

export interface ZoneOptions {
  database: Engine;
  /** Servers on one database; nodes ask one of them each. */
  replicas: number;
  nodes: number;
  pods: number;
  /** Nodes that the rolling restart takes. */
  restarted: number;
  /** Ports that drift when nodes are lost. */
  drifted: number;
  /** Length of the steady churn. */
  seconds: number;
  /** How long the servers are away, each time. */
  outageSeconds: number;
  /** Times 10 percent a minute. */
  speed: number;
  seed: number;
}

export interface ZoneResult {
  options: ZoneOptions;
  phases: PhaseFigures[];
  /** Everything in which the proof failed; nothing: it holds. */
  broken: string[];
  ports: number;
  databaseBytes: number;
  about: string[];
}

/** Half of the pods are of StatefulSets and keep their addresses. */
const STICKY_SHARE = 0.5;
/** A kubelet starts several pods at the same time. */
const STARTS_AT_ONCE = 4;
const CHURN_PER_MINUTE = 0.1;
const NODES_AT_ONCE = 10;
const NODE_DOWN_MS = 2000;
const DRIFT_WITHIN_MS = 3000;
const SETTLE_TIMEOUT_MS = 180_000;
const THREADS = 2;

/** A zone's nodes on real servers. */
export class Zone implements AsyncDisposable {
  readonly cluster: ZoneCluster;
  readonly servers: readonly IpamProcess[];
  readonly #meter: Meter;
  readonly #context: BenchContext;
  readonly #options: ZoneOptions;
  readonly #owned: AsyncDisposableStack;
  readonly #random: Random;

  private constructor(
    context: BenchContext,
    options: ZoneOptions,
    servers: readonly IpamProcess[],
    cluster: ZoneCluster,
    meter: Meter,
    random: Random,
    owned: AsyncDisposableStack,
  ) {
    this.#context = context;
    this.#options = options;
    this.servers = servers;
    this.cluster = cluster;
    this.#meter = meter;
    this.#random = random;
    this.#owned = owned;
  }

  static async open(
    context: BenchContext,
    options: ZoneOptions,
    databases: Databases,
    database: string,
  ): Promise<Zone> {
    await using stack = new AsyncDisposableStack();
    const journalDir = await mkdtemp(join(tmpdir(), "mooring-zone-"));
    stack.defer(() => rm(journalDir, { recursive: true, force: true }));
    {
      await using store = await databases.open(database);
      for (const network of zoneNetworks()) await store.putNetwork(network, "bench");
    }
    const servers: IpamProcess[] = [];
    for (let index = 0; index < options.replicas; index++) {
      servers.push(stack.use(await IpamProcess.start(context, database)));
    }
    const nodes = Array.from({ length: options.nodes }, (_, index) => ({
      name: `node-${index}`,
      url: servers[index % servers.length]?.url ?? "",
    }));
    const fleet = stack.use(new Fleet({ nodes, journalDir, threads: Math.min(THREADS, nodes.length) }));
    const random = new Random(options.seed);
    const names = nodes.map(({ name }) => name);
    const cluster = new ZoneCluster(fleet, names, random, STICKY_SHARE);
    const meter = new Meter(servers, databases, fleet);
    return new Zone(context, options, servers, cluster, meter, random, stack.move());
  }

  /** All phases, one after another; each ends when everything has settled. */
  async run(): Promise<PhaseFigures[]> {
    const { pods, restarted, drifted } = this.#options;
    return [
      await this.#phase("fill", async () => {
        await this.cluster.startAgents();
        await this.cluster.fill(pods, STARTS_AT_ONCE);
      }),
      await this.#phase("steady churn", remark => this.#steadyChurn(remark)),
      await this.#phase(`rolling restart of ${restarted} nodes`, remark => this.#rollingRestart(remark)),
      await this.#phase(`mass drift of ${drifted} ports`, remark => this.#massDrift(remark)),
      await this.#phase("outage in the churn, SIGTERM", remark => this.#outage("SIGTERM", remark)),
      await this.#phase("outage in the churn, kill -9", remark => this.#outage("SIGKILL", remark)),
    ];
  }

  /** What is wrong by the server's own books, by the agents' against the server's, and what could not be done. */
  async prove(): Promise<{ broken: string[]; ports: number }> {
    const [server] = this.servers;
    if (server === undefined) return { broken: ["there is no server"], ports: 0 };
    const { findings } = await get<{ findings: { what: string; where: string }[] }>(`${server.url}/v1/check`);
    const ports = await readAllPorts(server.url);
    const books = findings.map(({ what, where }) => `mooringctl check: ${where}: ${what}`);
    return { broken: [...books, ...this.cluster.failures, ...this.cluster.model.prove(ports)], ports: ports.length };
  }

  async #phase(name: string, work: (remark: (text: string) => void) => Promise<void>): Promise<PhaseFigures> {
    this.#context.signal.throwIfAborted();
    this.#context.progress(`zone: ${name}`);
    const measuring = this.#meter.measure(name, async remark => {
      await work(remark);
      const doneAt = performance.now();
      await this.cluster.settled(SETTLE_TIMEOUT_MS);
      remark(`settled ${seconds(performance.now() - doneAt)} s after the last change`);
    });
    return await unlessAborted(measuring, this.#context.signal);
  }

  get #podsPerSecond(): number {
    const { pods, speed } = this.#options;
    return (pods * CHURN_PER_MINUTE * speed) / 60;
  }

  async #steadyChurn(remark: (text: string) => void): Promise<void> {
    const until = this.#until(this.#options.seconds * 1000);
    const begun = await this.cluster.churn(this.#podsPerSecond, until);
    remark(`${begun} pods replaced at ${this.#podsPerSecond.toFixed(1)} a second`);
  }

  async #rollingRestart(remark: (text: string) => void): Promise<void> {
    const names = this.#pickNodes(this.#options.restarted);
    const moved = this.cluster.podsOf(new Set(names));
    for (let first = 0; first < names.length; first += NODES_AT_ONCE) {
      const group = names.slice(first, first + NODES_AT_ONCE);
      await Promise.all(group.map(name => this.cluster.restart(name, NODE_DOWN_MS, this.#context.signal)));
    }
    remark(`${moved} pods went elsewhere, ${NODES_AT_ONCE} nodes at a time, each down for ${NODE_DOWN_MS / 1000} s`);
  }

  async #massDrift(remark: (text: string) => void): Promise<void> {
    const { drifted, pods, nodes } = this.#options;
    const lost = this.#pickNodes(Math.min(nodes - 1, Math.ceil(drifted / (STICKY_SHARE * (pods / nodes)))));
    const moved = this.cluster.podsOf(new Set(lost));
    const startedAt = performance.now();
    await this.cluster.lose(lost, DRIFT_WITHIN_MS);
    remark(
      `${lost.length} nodes without power; their ${moved} pods, half of them with addresses to keep, ran elsewhere after ${seconds(performance.now() - startedAt)} s, asked for within ${DRIFT_WITHIN_MS / 1000} s`,
    );
    await this.cluster.restore(lost);
  }

  async #outage(how: "SIGTERM" | "SIGKILL", remark: (text: string) => void): Promise<void> {
    const outageMs = this.#options.outageSeconds * 1000;
    const stop = new AbortController();
    const churning = this.cluster.churn(this.#podsPerSecond, AbortSignal.any([stop.signal, this.#context.signal]));
    await sleep(2000, undefined, { signal: this.#context.signal });
    const downAt = performance.now();
    await Promise.all(this.servers.map(server => server.down(how)));
    const leftMs = Math.max(0, outageMs - (performance.now() - downAt));
    await sleep(leftMs, undefined, { signal: this.#context.signal });
    await Promise.all(this.servers.map(server => server.up()));
    const upAt = performance.now();
    await sleep(2000, undefined, { signal: this.#context.signal });
    stop.abort();
    const begun = await churning;
    await this.cluster.settled(SETTLE_TIMEOUT_MS);
    remark(
      `away for ${seconds(upAt - downAt)} s while ${begun} pods were to be replaced; all settled ${seconds(performance.now() - upAt)} s after it was back`,
    );
  }

  #pickNodes(count: number): string[] {
    const names = this.cluster.nodeNames;
    const picked = new Set<string>();
    while (picked.size < Math.min(count, names.length - 1)) picked.add(this.#random.pick(names));
    return [...picked];
  }

  #until(ms: number): AbortSignal {
    return AbortSignal.any([AbortSignal.timeout(ms), this.#context.signal]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

export async function runZone(context: BenchContext, options: ZoneOptions): Promise<ZoneResult> {
  await using databases = await openDatabases(options.database);
  const database = await databases.create();
  await using zone = await Zone.open(context, options, databases, database);
  const phases = await zone.run();
  const { broken, ports } = await zone.prove();
  const about = await databases.describe();
  return { options, phases, broken, ports, databaseBytes: await databases.sizeOf(database), about };
}

/** Who asks to stop does not wait for pods that wait for the IPAM. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  work.catch(() => {});
  return await Promise.race([work, promise]).finally(() => signal.removeEventListener("abort", abort));
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);

async function get<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

async function readAllPorts(url: string): Promise<Port[]> {
  const ports: Port[] = [];
  let cursor: string | undefined;
  do {
    const after = cursor === undefined ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await get<PortList>(`${url}/v1/ports?limit=1000${after}`);
    ports.push(...page.ports);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return ports;
}
