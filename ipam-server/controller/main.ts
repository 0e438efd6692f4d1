import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { loadKubeConfig } from "../kube/load-kube-config.ts";
import { CLUSTER_NAME_MISSING } from "../process/cluster-name.ts";
import { requireOption } from "../process/options.ts";
import { createCommand, runProgram } from "../process/run-program.ts";
import { CONTROLLER_OPTIONS } from "./config.ts";
import { runController } from "./controller.ts";

const command = createCommand(
  "mooring-controller",
  "Reclaims the kept addresses of one cluster that no workload uses any longer.",
  CONTROLLER_OPTIONS,
).parse(process.argv);

process.exitCode = await runProgram({
  name: "mooring-controller",
  options: CONTROLLER_OPTIONS,
  flags: command.opts(),
  process,
  async run(config, log, signal) {
    const { tokenFile, caFile } = config;
    // Fails at start-up, not at the first call.
    if (caFile !== undefined) readFileSync(caFile);
    const options = {
      cluster: requireOption(config.cluster, "cluster", CLUSTER_NAME_MISSING),
      kubeConfig: loadKubeConfig(config.kubeconfig),
      server: config.server,
      ...(caFile !== undefined && { caFile }),
      ...(tokenFile !== undefined && { tokenFile }),
      identity: config.identity ?? hostname(),
      kubeLease: { namespace: config.leaseNamespace, name: config.leaseName },
      graceMs: config.grace,
      healthListen: config.healthListen,
      log,
    };
    await runController(options, signal);
  },
});
