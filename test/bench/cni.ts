import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Topology } from "../../scripts/lab/topology.ts";
import { callPlugin, mooringPlugin, type Plugin, readAddress } from "./cni-call.ts";
import type { BenchContext } from "./context.ts";
import { openBenchLab } from "./lab.ts";
import { median, quantile } from "./quantile.ts";
import type { BenchReport } from "./report.ts";
import { Runner } from "./runner/runner.ts";

/** Where Debian's containernetworking-plugins, and everybody else, put the peers. */
const PEER_PATHS = ["/usr/lib/cni", "/opt/cni/bin"];
/** Pairs that are run and not counted: page cache, OVS's first port, the bridge's creation. */
const WARM_UP = 3;
const BAR_RATIO = 5;

interface Times {
  add: number[];
  del: number[];
  both: number[];
}

export async function benchCni(context: BenchContext, rounds: number): Promise<BenchReport> {
  const peerPath = await findPeer();
  context.progress("cni: opening the lab");
  await using lab = await openBenchLab(context);
  const node = lab.topology.node(0);
  await using runner = new Runner(context, node);
  const plugins = [
    mooringPlugin(lab, node, { families: ["ipv4"] }),
    bridgePlugin(peerPath, join(lab.topology.dir, "host-local")),
  ] as const;
  const [mooring, bridge]: [Times, Times] = [newTimes(), newTimes()];
  const start: number[] = [];
  const version: number[] = [];
  context.progress(`cni: ${rounds} pairs of ADD and DEL`);
  for (let round = -WARM_UP; round < rounds; round += 1) {
    context.signal.throwIfAborted();
    // The one that goes first finds colder caches: take turns.
    const order = round % 2 === 0 ? [0, 1] : [1, 0];
    for (const index of order) {
      const plugin = plugins[index === 0 ? 0 : 1];
      await measurePair(lab.topology, runner, plugin, round, round < 0 ? newTimes() : index === 0 ? mooring : bridge);
    }
    if (round < 0) continue;
    const bare = await runner.run({ argv: [context.nodePath, "-e", "0"], env: {}, input: "" });
    start.push(bare.elapsedMs);
    version.push((await callPlugin(runner, plugins[0], versionCall)).elapsedMs);
  }
  return report(mooring, bridge, start, version, node.ovs.datapathType, peerPath);
}

async function measurePair(topology: Topology, runner: Runner, plugin: Plugin, round: number, times: Times) {
  const name = `${plugin.name}${round + WARM_UP}`;
  const pod = await topology.addPod(name);
  const call = {
    containerId: Buffer.from(`${topology.id}-${name}`).toString("hex").padStart(64, "0"),
    netns: pod.netns,
    podName: name,
    podUid: `uid-${name}`,
  };
  const add = await callPlugin(runner, plugin, { ...call, command: "ADD" });
  readAddress(add.stdout, pod);
  const del = await callPlugin(runner, plugin, { ...call, command: "DEL" });
  times.add.push(add.elapsedMs);
  times.del.push(del.elapsedMs);
  times.both.push(add.elapsedMs + del.elapsedMs);
  await pod.remove();
}

const newTimes = (): Times => ({ add: [], del: [], both: [] });
const versionCall = { command: "VERSION", containerId: "", netns: "", podName: "", podUid: "" } as const;

function bridgePlugin(path: string, dataDir: string): Plugin {
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

function report(
  mooring: Times,
  bridge: Times,
  start: number[],
  version: number[],
  datapath: string,
  peerPath: string,
): BenchReport {
  const ratio = median(mooring.both) / median(bridge.both);
  const row = (what: string, samples: number[]) => [what, median(samples), quantile(samples, 0.99), samples.length];
  return {
    benchmark: "cni",
    tables: [
      {
        title: "cni: whole processes, milliseconds",
        columns: [{ name: "what" }, { name: "p50", digits: 1 }, { name: "p99", digits: 1 }, { name: "samples" }],
        rows: [
          row("mooring (direct) ADD+DEL", mooring.both),
          row("mooring (direct) ADD", mooring.add),
          row("mooring (direct) DEL", mooring.del),
          row("bridge + host-local ADD+DEL", bridge.both),
          row("bridge + host-local ADD", bridge.add),
          row("bridge + host-local DEL", bridge.del),
          row("floor: node -e 0", start),
          row("floor: mooring VERSION", version),
        ],
      },
    ],
    bars: [
      {
        what: "mooring (direct) ADD+DEL against bridge + host-local, medians",
        bar: `within ${BAR_RATIO}x`,
        measured: `${ratio.toFixed(2)}x`,
        met: ratio <= BAR_RATIO,
      },
    ],
    notes: [
      `Mooring: real Open vSwitch (${datapath} datapath) and a real IPAM process over TCP. Peer: ${peerPath}, a Linux bridge and local files; it asks no central IPAM.`,
      "Both give the pod one IPv4 address. Pairs alternate; each ADD has a new network namespace, whose making is not timed. Node starts twice in an ADD+DEL.",
      "ovs-cni has no Debian package, so this run has no peer on Open vSwitch.",
    ],
  };
}
