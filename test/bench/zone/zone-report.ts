import { quantile } from "../quantile.ts";
import type { Bar, BenchReport, Table } from "../report.ts";
import type { PhaseFigures } from "./meter.ts";
import type { ZoneResult } from "./zone.ts";

const MIB = 1024 * 1024;

export function reportZone({ options, phases, broken, ports, databaseBytes, about }: ZoneResult): BenchReport {
  const { nodes, pods, replicas, speed, seconds, seed } = options;
  const remarks = phases.flatMap(({ name, remarks }) => remarks.map(text => `${name}: ${text}.`));
  return {
    benchmark: "zone",
    tables: [claimsTable(phases), eventsTable(phases), costTable(phases)],
    bars: [proofBar(broken, ports)],
    notes: [
      ...about,
      `${nodes} nodes' agents, ${pods} pods, ${replicas} server${replicas === 1 ? "" : "s"}; the churn lasted ${seconds} s at ${speed} times 10 percent a minute; seed ${seed}.`,
      `The database ended at ${(databaseBytes / MIB).toFixed(0)} MiB.`,
      "Client, batches, event stream, journals and their delivery are the agent's own code; kubelet, runtime and datapath are played: a sandbox takes 50 to 250 ms, a failed ADD is tried again after 1, 2, then 4 s, a quarter more or less.",
      "ADD: the claim of ADD, from its first try until it has its port, the kubelet's pauses included; pre-claim: the claim when the pod is scheduled, as far as it succeeded.",
      "Servers and simulator share the machine: where the simulator's own event loop is late, so are its figures.",
      ...remarks,
      ...phases.flatMap(describeErrors),
      ...broken.slice(0, 20).map(text => `BROKEN: ${text}`),
    ],
  };
}

function claimsTable(phases: readonly PhaseFigures[]): Table {
  const ms = (name: string) => ({ name, digits: 1 });
  return {
    title: "zone: claims as the agents see them",
    columns: [
      { name: "phase" },
      { name: "s", digits: 1 },
      { name: "claims/s" },
      ...["ADD p50 ms", "p95 ms", "p99 ms", "max ms", "pre-claim p50 ms", "p99 ms", "release p50 ms", "p99 ms"].map(ms),
      { name: "failed tries" },
      { name: "journaled" },
    ],
    rows: phases.map(({ name, seconds, seen }) => {
      const { addMs, preclaimMs, releaseMs } = seen;
      return [
        ...[name, seconds, (addMs.length + preclaimMs.length) / seconds],
        ...[0.5, 0.95, 0.99, 1].map(q => known(quantile(addMs, q))),
        ...[0.5, 0.99].map(q => known(quantile(preclaimMs, q))),
        ...[0.5, 0.99].map(q => known(quantile(releaseMs, q))),
        ...[Object.values(seen.errors).reduce((sum, count) => sum + count, 0), seen.journaled],
      ];
    }),
  };
}

function eventsTable(phases: readonly PhaseFigures[]): Table {
  return {
    title: "zone: events, from the commit to the node they are about",
    columns: [
      { name: "phase" },
      { name: "to all nodes/s" },
      { name: "to theirs/s" },
      ...["p50 ms", "p95 ms", "p99 ms", "max ms"].map(name => ({ name, digits: 0 })),
      { name: "streams broken" },
      { name: "swept" },
      { name: "claimed again" },
    ],
    rows: phases.map(({ name, seconds, seen }) => [
      ...[name, seen.events / seconds, seen.eventDelayMs.length / seconds],
      ...[0.5, 0.95, 0.99, 1].map(q => known(quantile(seen.eventDelayMs, q))),
      ...[seen.streamBreaks, seen.swept, seen.reclaimed],
    ]),
  };
}

function costTable(phases: readonly PhaseFigures[]): Table {
  return {
    title: "zone: what it costs",
    columns: [
      { name: "phase" },
      { name: "requests/s" },
      { name: "items/s" },
      { name: "items a commit", digits: 1 },
      { name: "server CPU", digits: 2 },
      { name: "database CPU", digits: 2 },
      { name: "server MiB" },
      { name: "server loop p99 ms" },
      { name: "simulator loop p99 ms" },
      { name: "max ms" },
      { name: "simulator busy", digits: 2 },
    ],
    rows: phases.map(phase => {
      const { seconds, requests, items, commits } = phase;
      const rate = (count: number | undefined) => count && count / seconds;
      return [
        ...[phase.name, rate(requests), rate(items), items && commits ? items / commits : undefined],
        ...[phase.serverCpuSeconds / seconds, phase.databaseCpuSeconds / seconds],
        phase.residentBytes.map(bytes => Math.round(bytes / MIB)).join(", "),
        ...[phase.serverLoopP99Ms, phase.simulatorLoopP99Ms, phase.simulatorLoopMaxMs, phase.simulatorBusy],
      ];
    }),
  };
}

const known = (value: number): number | undefined => (Number.isNaN(value) ? undefined : value);

function describeErrors({ name, seen }: PhaseFigures): string[] {
  const counts = Object.entries(seen.errors).map(([code, count]) => `${code} ${count}`);
  return counts.length === 0 ? [] : [`${name}: failed tries by code: ${counts.join(", ")}.`];
}

function proofBar(broken: readonly string[], ports: number): Bar {
  return {
    what: "nothing is left over, no address was lost or is anybody else's too: mooringctl check, and the agents' books against the server's both ways",
    bar: "no difference",
    measured: broken.length === 0 ? `none in ${ports} ports` : `${broken.length} in ${ports} ports`,
    met: broken.length === 0,
  };
}
