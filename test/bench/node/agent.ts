import { join } from "node:path";
import type { BenchContext } from "../context.ts";
import { findBridgePlugin, measurePairs, type PairPod, pairRows, TIME_COLUMNS, type Times, timeRow } from "../pairs.ts";
import { median, quantile } from "../quantile.ts";
import type { BenchReport, Table } from "../report.ts";
import { Runner } from "../runner/runner.ts";
import { AgentCalls, type CallTimes } from "./agent-calls.ts";
import { type AgentNodes, openAgentNodes } from "./agent-nodes.ts";
import { meanMs, readSteps, type Steps } from "./agent-steps.ts";
import { driftBar, driftNotes, driftTable, type MeasuredDrifts, measureDrifts } from "./drift.ts";

const AT_ONCE = 16;
const BAR_RATIO = 2.2;
const BAR_P50_MS = 8;
const BAR_P99_MS = 40;
const BAR_DRIFT_MS = 250;
const STEPS = ["claim", "plug", "unplug", "release", "total"];

/** One way of calling, and what the agent's own clock says of it. */
interface Load {
  what: string;
  times: CallTimes;
  before: Steps;
  after: Steps;
}

/** The executable that forwards to a warm agent, and the agent itself. */
export async function benchAgent(context: BenchContext, rounds: number): Promise<BenchReport> {
  context.progress("agent: opening the lab, with an agent on each node");
  await using nodes = await openAgentNodes(context);
  const [mooring, bridge, start] = await measureProcesses(context, nodes, rounds);
  const loads = await measureCalls(context, nodes, rounds);
  context.progress("agent: drifts");
  const drifts = await measureAgentDrifts(context, nodes, Math.max(5, Math.floor(rounds / 3)));
  return report(nodes, { mooring, bridge, start, loads, drifts });
}

async function measureProcesses(context: BenchContext, nodes: AgentNodes, rounds: number) {
  const { topology, kube } = nodes;
  const node = topology.node(0);
  await using runner = new Runner(context, node);
  const start: number[] = [];
  context.progress(`agent: ${rounds} pairs of ADD and DEL`);
  const [mooring, bridge] = await measurePairs({
    context,
    topology,
    runner,
    rounds,
    contenders: [
      {
        plugin: nodes.plugin(0),
        before: ({ name, uid }: PairPod) => kube.putPod({ name, uid, nodeName: node.name }),
        after: ({ name }: PairPod) => kube.removePod(name),
      },
      { plugin: await findBridgePlugin(join(topology.dir, "host-local")) },
    ],
    async afterRound() {
      start.push((await runner.run({ argv: [context.nodePath, "-e", "0"], env: {}, input: "" })).elapsedMs);
    },
  });
  return [mooring, bridge, start] as const;
}

async function measureCalls(context: BenchContext, nodes: AgentNodes, rounds: number): Promise<Load[]> {
  const calls = new AgentCalls(context, nodes);
  const bursts = Math.ceil(rounds / 4);
  const work: [string, () => Promise<CallTimes>][] = [
    ["1 at a time", () => calls.bursts(rounds, 1)],
    [`${AT_ONCE} at once`, () => calls.bursts(bursts, AT_ONCE)],
    [`${AT_ONCE} at once, ADDs among DELs`, () => calls.churn(Math.ceil(bursts / 2), AT_ONCE)],
  ];
  const loads: Load[] = [];
  for (const [what, run] of work) {
    context.progress(`agent: calls, ${what}`);
    const before = await readSteps(nodes.agents[0]);
    const times = await run();
    loads.push({ what, times, before, after: await readSteps(nodes.agents[0]) });
  }
  return loads;
}

async function measureAgentDrifts(context: BenchContext, nodes: AgentNodes, rounds: number): Promise<MeasuredDrifts> {
  const { topology, kube } = nodes;
  const ownerReferences = [{ apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "web", controller: true }];
  await using stack = new AsyncDisposableStack();
  const homes = topology.nodes.map((node, index) => ({
    runner: stack.use(new Runner(context, node)),
    plugin: nodes.plugin(index),
    async schedule({ name, uid }: { name: string; uid: string }) {
      await kube.removePod(name);
      await kube.putPod({ name, uid, nodeName: node.name, ownerReferences });
    },
  }));
  // Awaited here: the runners live until the end.
  return await measureDrifts(context, topology, homes, rounds);
}

interface Measured {
  mooring: Times;
  bridge: Times;
  start: number[];
  loads: Load[];
  drifts: MeasuredDrifts;
}

function report({ topology }: AgentNodes, { mooring, bridge, start, loads, drifts }: Measured): BenchReport {
  const ratio = median(mooring.both) / median(bridge.both);
  const [single, burst] = loads.map(({ times }) => times.add);
  const p50 = median(single ?? []);
  const p99 = quantile(burst ?? [], 0.99);
  return {
    benchmark: "agent",
    tables: [
      {
        title: "agent: complete processes, milliseconds",
        columns: TIME_COLUMNS,
        rows: [
          ...pairRows("mooring (warm agent)", mooring),
          ...pairRows("bridge + host-local", bridge),
          timeRow("floor: node -e 0", start),
        ],
      },
      {
        title: "agent: calls at its socket, milliseconds",
        columns: TIME_COLUMNS,
        rows: loads.flatMap(({ what, times }) => [
          timeRow(`ADD, ${what}`, times.add),
          timeRow(`DEL, ${what}`, times.del),
        ]),
      },
      stepTable(loads),
      driftTable(drifts),
    ],
    bars: [
      {
        what: "mooring (warm agent) ADD+DEL against bridge + host-local, medians",
        bar: `within ${BAR_RATIO}x`,
        measured: `${ratio.toFixed(2)}x`,
        met: ratio <= BAR_RATIO,
      },
      {
        what: "ADD at the agent's socket, 1 at a time, p50",
        bar: `under ${BAR_P50_MS} ms`,
        measured: `${p50.toFixed(1)} ms`,
        met: p50 < BAR_P50_MS,
      },
      {
        what: `ADD at the agent's socket, ${AT_ONCE} at once, p99`,
        bar: `under ${BAR_P99_MS} ms`,
        measured: `${p99.toFixed(1)} ms`,
        met: p99 < BAR_P99_MS,
      },
      driftBar("drift, through the agents, median", drifts, BAR_DRIFT_MS),
    ],
    notes: [
      "The agents, the IPAM, Open vSwitch and the executable are real processes; Kubernetes is a small fake of its API. Both plugins give the pod one IPv4 address.",
      "Calls at the socket are timed by the caller, from the call written to the answer read; steps are means of the agent's own histograms, and overlap. A pod is scheduled at least 50 ms before its ADD.",
      ...driftNotes(
        drifts,
        topology,
        "through an agent on each node; the pod is replaced in Kubernetes between DEL and ADD",
      ),
    ],
  };
}

function stepTable(loads: Load[]): Table {
  return {
    title: "agent: steps by its own clock, mean milliseconds",
    columns: [{ name: "call" }, ...STEPS.map(name => ({ name, digits: 1 }))],
    rows: loads.flatMap(({ what, before, after }) =>
      ["ADD", "DEL"].map(verb => [`${verb}, ${what}`, ...STEPS.map(step => meanMs(before, after, `${verb}/${step}`))]),
    ),
  };
}
