import { readFileSync } from "node:fs";
import { KubeConfig } from "@kubernetes/client-node";
import { Command } from "commander";
import { pino } from "pino";
import { addOptions, OptionError, readOptions } from "../../ipam-server/process/options.ts";
import { runAgent } from "./agent.ts";
import { AGENT_OPTIONS, type AgentConfig } from "./config.ts";
import { startUpkeep } from "./upkeep/upkeep.ts";

const command = new Command("mooring-agent")
  .description(
    "Connects the pods of one node, reconciles OVS with the IPAM, and serves the calls of the CNI executable.",
  )
  .allowExcessArguments(false)
  .showHelpAfterError("(--help lists the options)");
addOptions(command, AGENT_OPTIONS).parse(process.argv);

process.exitCode = await run();

async function run(): Promise<number> {
  const log = pino({ name: "mooring-agent" }, pino.destination({ fd: 2, sync: true }));
  try {
    const config = readConfig();
    log.level = config.logLevel;
    // A second signal meets no handler and ends the process at once.
    const stop = new AbortController();
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
    const { caFile } = config;
    const kubeConfig = readKubeConfig(config.kubeconfig);
    const ca = caFile === undefined ? undefined : readFileSync(caFile, "utf8");
    await runAgent({ config, kubeConfig, log, startUpkeep, ...(ca !== undefined && { ca }) }, stop.signal);
  } catch (error) {
    if (error instanceof OptionError) process.stderr.write(`mooring-agent: ${error.message}\n`);
    else log.fatal({ err: error }, error instanceof Error ? error.message : String(error));
    return error instanceof OptionError ? 2 : 1;
  }
  log.info("stopped");
  return 0;
}

function readConfig(): AgentConfig {
  const readFile = (path: string) => readFileSync(path, "utf8");
  const options = readOptions(AGENT_OPTIONS, { flags: command.opts(), env: process.env, readFile });
  const { nodeName, cluster } = options;
  if (nodeName === undefined) throw new OptionError("--node-name: is missing; give this node's name in Kubernetes");
  if (cluster === undefined) throw new OptionError("--cluster: is missing; give this cluster's name in the IPAM");
  return { ...options, nodeName, cluster };
}

function readKubeConfig(path: string | undefined): KubeConfig {
  const config = new KubeConfig();
  if (path === undefined) config.loadFromCluster();
  else config.loadFromFile(path);
  return config;
}
