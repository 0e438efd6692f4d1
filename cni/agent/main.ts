import { readFileSync } from "node:fs";
import { loadKubeConfig } from "../../ipam-server/kube/load-kube-config.ts";
import { CLUSTER_NAME_MISSING } from "../../ipam-server/process/cluster-name.ts";
import { requireOption } from "../../ipam-server/process/options.ts";
import { createCommand, runProgram } from "../../ipam-server/process/run-program.ts";
import { runAgent } from "./agent.ts";
import { AGENT_OPTIONS } from "./config.ts";
import { startUpkeep } from "./upkeep/upkeep.ts";

const command = createCommand(
  "mooring-agent",
  "Connects the pods of one node, reconciles OVS with the IPAM, and serves the calls of the CNI executable.",
  AGENT_OPTIONS,
).parse(process.argv);

process.exitCode = await runProgram({
  name: "mooring-agent",
  options: AGENT_OPTIONS,
  flags: command.opts(),
  process,
  async run(options, log, signal) {
    const nodeName = requireOption(options.nodeName, "nodeName", "give this node's name in Kubernetes");
    const cluster = requireOption(options.cluster, "cluster", CLUSTER_NAME_MISSING);
    const config = { ...options, nodeName, cluster };
    // Fails at start-up, not at the first call.
    if (config.caFile !== undefined) readFileSync(config.caFile);
    const kubeConfig = loadKubeConfig(config.kubeconfig);
    await runAgent({ config, kubeConfig, log, startUpkeep }, signal);
  },
});
