import { createRequire } from "node:module";
import { cpus, loadavg, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import type { BenchContext } from "./context.ts";
import { ENGINES, type Engine } from "./databases/databases.ts";
import { type BenchReport, formatReport } from "./report.ts";

const BENCHMARKS = ["ipam", "zone", "cni", "drift", "agent"] as const;
type Benchmark = (typeof BENCHMARKS)[number];

interface Options {
  json?: boolean;
  strict?: boolean;
  database: Engine;
  replicas: number;
  held: number[];
  seconds?: number;
  nodes: number;
  pods: number;
  restarted: number;
  drifted: number;
  outage: number;
  speed: number;
  seed: number;
  rounds?: number;
}

const program = new Command("bench")
  .description("Measures Mooring and its peers on this machine, and reports which bars of docs/design.md are met.")
  .addArgument(new Argument("[benchmark]", "only this one").choices(BENCHMARKS))
  .option("--json", "print one JSON document instead of tables")
  .option("--strict", "exit with 1 when a bar is not met")
  .addOption(
    new Option("--database <engine>", "ipam, zone: the database of the servers").choices(ENGINES).default("sqlite"),
  )
  .addOption(
    new Option("--replicas <n>", "ipam, zone: servers on one PostgreSQL database, 1 to 3")
      .argParser(parseReplicas)
      .default(1),
  )
  .addOption(
    new Option("--held <counts>", "ipam: ports held by the databases compared with an empty one, ascending")
      .argParser(parseCounts)
      .default([100_000, 1_000_000], "100000,1000000"),
  )
  .addOption(
    new Option("--seconds <s>", "ipam: length of one round (default 2); zone: of the churn (default 30)").argParser(
      parseSeconds,
    ),
  )
  .addOption(new Option("--nodes <n>", "zone: nodes").argParser(parseCount).default(500))
  .addOption(new Option("--pods <n>", "zone: pods").argParser(parseCount).default(20_000))
  .addOption(new Option("--restarted <n>", "zone: nodes of the rolling restart").argParser(parseCount).default(100))
  .addOption(new Option("--drifted <n>", "zone: ports of the mass drift").argParser(parseCount).default(2000))
  .addOption(new Option("--outage <s>", "zone: how long the servers are down").argParser(parseSeconds).default(30))
  .addOption(new Option("--speed <n>", "zone: times 10 percent of churn a minute").argParser(parseSeconds).default(1))
  .addOption(new Option("--seed <n>", "zone: seed of the random churn").argParser(parseCount).default(1))
  .addOption(
    new Option("--rounds <n>", "cni, agent: pairs measured (default 60); drift: drifts (default 20)").argParser(
      parseCount,
    ),
  )
  .action(run);

await program.parseAsync(process.argv);

async function run(only: Benchmark | undefined, options: Options): Promise<void> {
  if (options.replicas > 1 && options.database === "sqlite") {
    program.error("error: several servers need --database postgres: a SQLite database has one.");
  }
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => abort.abort(new Error(`stopped by ${signal}`)));
  }
  const context: BenchContext = {
    nodePath: process.execPath,
    root: fileURLToPath(new URL("../..", import.meta.url)),
    env: process.env,
    signal: abort.signal,
    progress: line => process.stderr.write(`${line}\n`),
  };
  const reports: BenchReport[] = [];
  for (const benchmark of only === undefined ? BENCHMARKS : [only]) {
    const machine = describeMachine();
    const report = await runOne(benchmark, context, options);
    report.notes.push(machine);
    reports.push(report);
    if (!options.json) process.stdout.write(`\n${formatReport(report)}`);
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ version: readVersion(), reports }, null, 2)}\n`);
  if (options.strict && reports.some(({ bars }) => bars.some(({ met }) => !met))) process.exitCode = 1;
}

/** Each benchmark is loaded only when it runs: `ipam` needs neither root nor Open vSwitch. */
async function runOne(benchmark: Benchmark, context: BenchContext, options: Options): Promise<BenchReport> {
  if (benchmark === "ipam")
    return await (await import("./ipam/ipam.ts")).benchIpam(context, { ...options, seconds: options.seconds ?? 2 });
  if (benchmark === "zone") return await runZoneBenchmark(context, options);
  if (benchmark === "cni") return await (await import("./node/cni.ts")).benchCni(context, options.rounds ?? 60);
  if (benchmark === "agent") return await (await import("./node/agent.ts")).benchAgent(context, options.rounds ?? 60);
  return await (await import("./node/drift.ts")).benchDrift(context, options.rounds ?? 20);
}

async function runZoneBenchmark(context: BenchContext, options: Options): Promise<BenchReport> {
  const { runZone } = await import("./zone/zone.ts");
  const { reportZone } = await import("./zone/zone-report.ts");
  const { seconds = 30, outage: outageSeconds } = options;
  return reportZone(await runZone(context, { ...options, seconds, outageSeconds }));
}

function parseCount(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("It takes a whole number above 0.");
  return Number(text);
}

function parseReplicas(text: string): number {
  if (!/^[123]$/.test(text)) throw new InvalidArgumentError("It takes 1, 2 or 3.");
  return Number(text);
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() === "" || !(seconds > 0)) throw new InvalidArgumentError("It takes a number above 0.");
  return seconds;
}

function parseCounts(text: string): number[] {
  const counts = text.split(",").map(parseCount);
  if (counts.some((count, index) => count <= (counts[index - 1] ?? 0))) {
    throw new InvalidArgumentError("The counts must be ascending.");
  }
  return counts;
}

/** With the load before the run: on a busy machine the figures say little, and a reader should see it. */
function describeMachine(): string {
  const [cpu] = cpus();
  const [load = 0] = loadavg();
  const memoryGib = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} CPUs (${cpu?.model.trim()}), ${memoryGib} GiB, Linux ${release()}, Node ${process.version}; load ${load.toFixed(1)} before the run.`;
}

function readVersion(): string {
  const { version }: { version: string } = createRequire(import.meta.url)("../../package.json");
  return version;
}
