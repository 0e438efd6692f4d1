import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { KubeConfig } from "@kubernetes/client-node";
import { Command } from "commander";
import { pino } from "pino";
import { addOptions, OptionError, readOptions } from "../process/options.ts";
import { CONTROLLER_OPTIONS, type ControllerConfig } from "./config.ts";
import { runController } from "./controller.ts";

function readKubeConfig(path: string | undefined): KubeConfig {
  const config = new KubeConfig();
  if (path === undefined) config.loadFromCluster();
  else config.loadFromFile(path);
  return config;
}

async function main(): Promise<void> {
  const command = addOptions(new Command("mooring-controller"), CONTROLLER_OPTIONS)
    .description("Reclaims the kept addresses of one cluster that no workload uses any longer.")
    .parse();
  const config: ControllerConfig = readOptions(CONTROLLER_OPTIONS, {
    flags: command.opts(),
    env: process.env,
    readFile: path => readFileSync(path, "utf8"),
  });
  const { cluster, tokenFile, caFile } = config;
  if (cluster === undefined) throw new OptionError("--cluster: is missing; give this cluster's name in the IPAM");

  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort());
  const log = pino({ level: config.logLevel });
  await runController(
    {
      kubeConfig: readKubeConfig(config.kubeconfig),
      server: config.server,
      ...(caFile !== undefined && { ca: readFileSync(caFile, "utf8") }),
      ...(tokenFile !== undefined && { readToken: async () => (await readFile(tokenFile, "utf8")).trim() }),
      cluster,
      identity: config.identity ?? hostname(),
      kubeLease: { namespace: config.leaseNamespace, name: config.leaseName },
      graceMs: config.grace,
      healthListen: config.healthListen,
      log,
    },
    stop.signal,
  );
}

main().catch(error => {
  process.stderr.write(`mooring-controller: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = error instanceof OptionError ? 2 : 1;
});
