import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Endpoint } from "../../scripts/lab/endpoint.ts";
import type { Topology } from "../../scripts/lab/topology.ts";
import type { BenchContext } from "./context.ts";
import { callPlugin, type Plugin, readAddress } from "./node/cni-call.ts";
import { quantile } from "./quantile.ts";
import type { Column } from "./report.ts";
import type { Runner } from "./runner/runner.ts";

/** Where Debian's containernetworking-plugins, and everybody else, put the peers. */
const PEER_PATHS = ["/usr/lib/cni", "/opt/cni/bin"];
/** Pairs that are run and not counted: page cache, OVS's first port, the bridge's creation. */
const WARM_UP = 3;

/** Milliseconds from a process's start to its end. */
export interface Times {
  add: number[];
  del: number[];
  both: number[];
}

export interface Contender {
  plugin: Plugin;
  /** What must be true before the runtime's ADD, and after its DEL; not timed. */
  before?(pod: PairPod): Promise<unknown>;
  after?(pod: PairPod): Promise<unknown>;
}

export interface PairPod {
  name: string;
  uid: string;
  endpoint: Endpoint;
}

export interface PairsOptions {
  context: BenchContext;
  topology: Topology;
  runner: Runner;
  rounds: number;
  contenders: readonly [Contender, Contender];
  /** After each round that counts. */
  afterRound?(): Promise<unknown>;
}

/** ADD and DEL as complete processes, the two plugins alternating, each pair with a sandbox of its own. */
export async function measurePairs(options: PairsOptions): Promise<[Times, Times]> {
  const { context, contenders, rounds } = options;
  const times: [Times, Times] = [newTimes(), newTimes()];
  for (let round = -WARM_UP; round < rounds; round += 1) {
    context.signal.throwIfAborted();
    // The one that goes first finds colder caches: take turns.
    const order: (0 | 1)[] = round % 2 === 0 ? [0, 1] : [1, 0];
    for (const index of order) {
      await measurePair(options, contenders[index], round, round < 0 ? newTimes() : times[index]);
    }
    if (round >= 0) await options.afterRound?.();
  }
  return times;
}

async function measurePair(
  { topology, runner }: PairsOptions,
  { plugin, before, after }: Contender,
  round: number,
  times: Times,
): Promise<void> {
  const name = `${plugin.name}${round + WARM_UP}`;
  const pod = { name, uid: `uid-${name}`, endpoint: await topology.addPod(name) };
  const call = {
    containerId: Buffer.from(`${topology.id}-${name}`).toString("hex").padStart(64, "0"),
    netns: pod.endpoint.netns,
    podName: name,
    podUid: pod.uid,
  };
  await before?.(pod);
  const add = await callPlugin(runner, plugin, { ...call, command: "ADD" });
  readAddress(add.stdout, pod.endpoint);
  const del = await callPlugin(runner, plugin, { ...call, command: "DEL" });
  times.add.push(add.elapsedMs);
  times.del.push(del.elapsedMs);
  times.both.push(add.elapsedMs + del.elapsedMs);
  await after?.(pod);
  await pod.endpoint.remove();
}

/** Debian's bridge + host-local: a Linux bridge and local files. */
export async function findBridgePlugin(dataDir: string): Promise<Plugin> {
  const path = await findPeer();
  const subnet = { subnet: "10.201.0.0/16" };
  return {
    name: "bridge",
    executable: join(path, "bridge"),
    path,
    config: {
      cniVersion: "1.0.0",
      name: "bench-bridge",
      type: "bridge",
      bridge: "bench0",
      ipam: { type: "host-local", ranges: [[subnet]], routes: [{ dst: "0.0.0.0/0" }], dataDir },
    },
  };
}

async function findPeer(): Promise<string> {
  for (const path of PEER_PATHS) {
    const found = await access(join(path, "host-local")).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  throw new Error(
    `The peer is not installed: apt-get install containernetworking-plugins (looked in ${PEER_PATHS.join(" and ")}).`,
  );
}

export const TIME_COLUMNS: Column[] = [
  { name: "what" },
  { name: "p50", digits: 1 },
  { name: "p99", digits: 1 },
  { name: "samples" },
];

export const timeRow = (what: string, samples: readonly number[]): (string | number)[] => [
  what,
  quantile(samples, 0.5),
  quantile(samples, 0.99),
  samples.length,
];

export const pairRows = (name: string, { both, add, del }: Times): (string | number)[][] => [
  timeRow(`${name} ADD+DEL`, both),
  timeRow(`${name} ADD`, add),
  timeRow(`${name} DEL`, del),
];

const newTimes = (): Times => ({ add: [], del: [], both: [] });
