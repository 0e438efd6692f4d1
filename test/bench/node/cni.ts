import { join } from "node:path";
import type { BenchContext } from "../context.ts";
import { findBridgePlugin, measurePairs, pairRows, TIME_COLUMNS, timeRow } from "../pairs.ts";
import { median } from "../quantile.ts";
import type { BenchReport } from "../report.ts";
import { Runner } from "../runner/runner.ts";
import { callPlugin, mooringPlugin } from "./cni-call.ts";
import { openBenchLab } from "./lab.ts";

const BAR_RATIO = 5;
const VERSION_CALL = { command: "VERSION", containerId: "", netns: "", podName: "", podUid: "" } as const;

/** The executable in direct mode compared with bridge + host-local. */
export async function benchCni(context: BenchContext, rounds: number): Promise<BenchReport> {
  context.progress("cni: opening the lab");
  await using lab = await openBenchLab(context);
  const { topology } = lab;
  const node = topology.node(0);
  await using runner = new Runner(context, node);
  const mooringDirect = mooringPlugin(lab, node, { families: ["ipv4"] });
  const peer = await findBridgePlugin(join(topology.dir, "host-local"));
  const start: number[] = [];
  const version: number[] = [];
  context.progress(`cni: ${rounds} pairs of ADD and DEL`);
  const [mooring, bridge] = await measurePairs({
    context,
    topology,
    runner,
    rounds,
    contenders: [{ plugin: mooringDirect }, { plugin: peer }],
    async afterRound() {
      start.push((await runner.run({ argv: [context.nodePath, "-e", "0"], env: {}, input: "" })).elapsedMs);
      version.push((await callPlugin(runner, mooringDirect, VERSION_CALL)).elapsedMs);
    },
  });
  const ratio = median(mooring.both) / median(bridge.both);
  return {
    benchmark: "cni",
    tables: [
      {
        title: "cni: complete processes, milliseconds",
        columns: TIME_COLUMNS,
        rows: [
          ...pairRows("mooring (direct)", mooring),
          ...pairRows("bridge + host-local", bridge),
          timeRow("floor: node -e 0", start),
          timeRow("floor: mooring VERSION", version),
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
      `Mooring: real Open vSwitch (${node.ovs.datapathType} datapath) and a real IPAM process over TCP. Peer: ${peer.path}, a Linux bridge and local files; it asks no central IPAM.`,
      "Both give the pod one IPv4 address. Pairs alternate; each ADD has a new network namespace, whose making is not timed. Node starts twice in an ADD+DEL.",
      "ovs-cni has no Debian package, so this run has no peer on Open vSwitch.",
    ],
  };
}
