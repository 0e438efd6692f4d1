import { parseArgs } from "node:util";
import { runDemo } from "./lab/demo-story.ts";
import { Ledger } from "./lab/ledger.ts";
import { openTopology } from "./lab/topology.ts";

const HELP = `usage: scripts/demo [--keep | --stop]

Two nodes, a pod, a drift: shows on this machine that a pod keeps its address. Everything
runs in network namespaces of its own and is removed at the end.

  --keep   leave it running, and say how to play with it
  --stop   remove what --keep left running
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { keep: { type: "boolean" }, stop: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) return void process.stdout.write(HELP);
  if (values.stop) return await stopDemos();

  console.log("Mooring: a pod drifts to another node and keeps its address\n");
  const topology = await openTopology({ label: "demo" });
  const interrupted = async () => {
    await topology[Symbol.asyncDispose]();
    process.exit(130);
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  try {
    await runDemo(topology, { keep: values.keep ?? false, print: line => console.log(line) });
  } finally {
    await topology[Symbol.asyncDispose]();
  }
}

async function stopDemos(): Promise<void> {
  const demos = Ledger.list().filter(({ label, kept }) => label === "demo" && kept);
  for (const demo of demos) await demo[Symbol.asyncDispose]();
  console.log(demos.length === 0 ? "No demo is running." : `Stopped and cleared away: ${demos.length}`);
}

try {
  await main();
} catch (error) {
  console.error(`\nThe demo stops here: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
