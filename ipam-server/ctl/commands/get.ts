import type { Command } from "commander";
import { addGetClusters } from "../clusters/get-clusters.ts";
import type { Context } from "../context.ts";
import { addGetNetworks } from "./get-networks.ts";
import { addGetPorts } from "./get-ports.ts";
import { addGetSubnets } from "./get-subnets.ts";

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
    .summary("list networks, subnets, ports or clusters")
    .description("Lists networks, subnets, ports or clusters as a table, JSON or YAML.")
    .addHelpText("after", EXAMPLES);
  addGetNetworks(get, context);
  addGetSubnets(get, context);
  addGetPorts(get, context);
  addGetClusters(get, context);
}
