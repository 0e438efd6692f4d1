import type { Command } from "commander";
import { addGetClusters } from "../../clusters/get-clusters.ts";
import type { Context } from "../../context.ts";
import { addGetConflicts } from "./conflicts.ts";
import { addGetNetworks } from "./networks.ts";
import { addGetPorts } from "./ports.ts";
import { addGetSubnets } from "./subnets.ts";

const EXAMPLES = `
Examples:
  $ mooringctl get networks
  $ mooringctl get subnets --network prod-a
  $ mooringctl get ports -l app=web --host node-a -o wide
  $ mooringctl get ports c1/default/web-0 -o yaml
  $ mooringctl get clusters`;

export function addGetCommand(parent: Command, context: Context): void {
  const get = parent
    .command("get")
    .summary("list networks, subnets, ports, clusters or conflicts")
    .description("Lists networks, subnets, ports, clusters or conflicts as a table, JSON or YAML.")
    .addHelpText("after", EXAMPLES);
  addGetNetworks(get, context);
  addGetSubnets(get, context);
  addGetPorts(get, context);
  addGetClusters(get, context);
  addGetConflicts(get, context);
}
