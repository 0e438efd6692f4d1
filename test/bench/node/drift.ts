import { setTimeout as delay } from "node:timers/promises";
import type { Endpoint } from "../../../scripts/lab/endpoint.ts";
import { startPinging } from "../../../scripts/lab/ping.ts";
import type { Topology } from "../../../scripts/lab/topology.ts";
import type { BenchContext } from "../context.ts";
import { median, quantile } from "../quantile.ts";
import type { Bar, BenchReport, Table } from "../report.ts";
import { Runner } from "../runner/runner.ts";
import { type CniCall, callPlugin, mooringPlugin, type Plugin, readAddress } from "./cni-call.ts";
import { openBenchLab } from "./lab.ts";

const PING_INTERVAL_MS = 2;
const ANSWER_TIMEOUT_MS = 15_000;
/** The pod serves this long between two drifts, so that neighbours and switches have settled on where it is. */
const SETTLE_MS = 300;
const BAR_MS = 400;

interface Drift {
  /** DEL on the old node begun, to the first answered ping after it ended. */
  driftMs: number;
  /** The longest gap in the answers to the pinging machine around the drift. */
  outageMs: number;
  delMs: number;
  addMs: number;
}

/** Where a pod can be: the node's namespace, and the executable as it is configured there. */
export interface DriftHome {
  runner: Runner;
  plugin: Plugin;
  /** What Kubernetes does before the ADD there: not part of the network's work, but of the time. */
  schedule?(pod: { name: string; uid: string }): Promise<unknown>;
}

export interface MeasuredDrifts {
  drifts: Drift[];
  moored: { address: string; mac: string };
}

export async function benchDrift(context: BenchContext, rounds: number): Promise<BenchReport> {
  context.progress("drift: opening the lab");
  await using lab = await openBenchLab(context);
  const { topology } = lab;
  await using stack = new AsyncDisposableStack();
  const homes = topology.nodes.map(node => ({
    runner: stack.use(new Runner(context, node)),
    plugin: mooringPlugin(lab, node),
  }));
  const measured = await measureDrifts(context, topology, homes, rounds);
  return {
    benchmark: "drift",
    tables: [driftTable(measured)],
    bars: [driftBar("drift, direct mode, median", measured, BAR_MS)],
    notes: driftNotes(measured, topology, "direct mode"),
  };
}

export async function measureDrifts(
  context: BenchContext,
  topology: Topology,
  homes: DriftHome[],
  rounds: number,
): Promise<MeasuredDrifts> {
  const home = (round: number) => {
    const found = homes[round % homes.length];
    if (found === undefined) throw new Error("the lab has no nodes");
    return found;
  };

  let pod = await topology.addPod("web-0-0");
  await home(0).schedule?.(deriveOwner(0));
  const first = await callPlugin(home(0).runner, home(0).plugin, podCall("ADD", pod, 0));
  const moored = readAddress(first.stdout, pod);
  await using pinging = startPinging(topology.legacy, moored.address, PING_INTERVAL_MS);
  await pinging.firstAnswerAfter(first.startedAt, ANSWER_TIMEOUT_MS);

  const drifts: Drift[] = [];
  for (let round = 0; round < rounds; round += 1) {
    context.signal.throwIfAborted();
    await delay(SETTLE_MS, undefined, { signal: context.signal });
    const next = await topology.addPod(`web-0-${round + 1}`);
    const del = await callPlugin(home(round).runner, home(round).plugin, podCall("DEL", pod, round));
    await home(round + 1).schedule?.(deriveOwner(round + 1));
    const add = await callPlugin(home(round + 1).runner, home(round + 1).plugin, podCall("ADD", next, round + 1));
    const answeredAt = await pinging.firstAnswerAfter(del.startedAt + del.elapsedMs, ANSWER_TIMEOUT_MS);
    const lastBefore = pinging.answers.findLast(at => at < answeredAt) ?? Number.NaN;
    drifts.push({
      driftMs: answeredAt - del.startedAt,
      outageMs: answeredAt - lastBefore,
      delMs: del.elapsedMs,
      addMs: add.elapsedMs,
    });
    await assertSame(moored, add.stdout, next);
    await pod.remove();
    pod = next;
  }
  await callPlugin(home(rounds).runner, home(rounds).plugin, podCall("DEL", pod, rounds));
  return { drifts, moored };
}

const deriveOwner = (round: number) => ({ name: "web-0", uid: `web-0-uid-${round}` });

/** The same pod name each time, with the sandbox and UID of a new pod. */
function podCall(command: "ADD" | "DEL", pod: Endpoint, round: number): CniCall {
  const containerId = Buffer.from(pod.namespace).toString("hex").padStart(64, "0");
  return { command, containerId, netns: pod.netns, podName: "web-0", podUid: `web-0-uid-${round}` };
}

/** The result may say anything: what the pod's interface has is what counts. */
async function assertSame(moored: { address: string; mac: string }, stdout: string, pod: Endpoint): Promise<void> {
  const result = readAddress(stdout, pod);
  const seen = await pod.readInterface("eth0");
  if (result.address !== moored.address || result.mac !== moored.mac) {
    throw new Error(`the pod drifted off ${moored.address} ${moored.mac} to ${result.address} ${result.mac}`);
  }
  if (seen?.mac !== moored.mac || !seen.addresses.includes(moored.address)) {
    throw new Error(`the result says ${moored.address} ${moored.mac}, the pod has ${JSON.stringify(seen)}`);
  }
}

export function driftTable({ drifts }: MeasuredDrifts): Table {
  const row = (what: string, samples: number[]) => [
    what,
    Math.min(...samples),
    median(samples),
    quantile(samples, 0.99),
    Math.max(...samples),
  ];
  return {
    title: `drift: ${drifts.length} drifts between two nodes, milliseconds`,
    columns: [
      { name: "what" },
      { name: "min", digits: 0 },
      { name: "p50", digits: 0 },
      { name: "p99", digits: 0 },
      { name: "max", digits: 0 },
    ],
    rows: [
      row(
        "DEL on the old node begun to first answer from the new",
        drifts.map(({ driftMs }) => driftMs),
      ),
      row(
        "gap in the answers to the pinging machine",
        drifts.map(({ outageMs }) => outageMs),
      ),
      row(
        "of it: DEL, complete process",
        drifts.map(({ delMs }) => delMs),
      ),
      row(
        "of it: ADD, complete process",
        drifts.map(({ addMs }) => addMs),
      ),
    ],
  };
}

export function driftBar(what: string, { drifts }: MeasuredDrifts, barMs: number): Bar {
  const drifted = drifts.map(({ driftMs }) => driftMs);
  const middle = median(drifted);
  return {
    what,
    bar: `under ${barMs} ms`,
    measured: `${middle.toFixed(0)} ms (slowest ${Math.max(...drifted).toFixed(0)} ms)`,
    met: middle < barMs,
  };
}

export function driftNotes({ moored }: MeasuredDrifts, topology: Topology, how: string): string[] {
  const { datapathType } = topology.node(0).ovs;
  return [
    `${moored.address} with ${moored.mac} at every drift, in the result and on the pod's interface.`,
    `Pinged every ${PING_INTERVAL_MS} ms from a machine on the same VLAN that is on neither node; Open vSwitch's ${datapathType} datapath; ${how}.`,
  ];
}
