import type { Command } from "commander";
import type { Network } from "../../../contract/index.ts";
import type { Context } from "../../context.ts";
import { CtlError } from "../../ctl-error.ts";
import { formatLabels, formatSegment, formatSince } from "../../output/format.ts";
import { writeItem, writeList } from "../../output/output.ts";
import { createOutputOption, type OutputFlag } from "../../output/output-option.ts";
import type { Column } from "../../output/table.ts";

const EXAMPLES = `
Examples:
  $ mooringctl get networks
  $ mooringctl get networks -l 'env=prod,tier in (web,api)' -o wide
  $ mooringctl get networks prod-a -o yaml`;

function createNetworkColumns(now: Date): Column<Network>[] {
  return [
    { header: "NAME", cell: network => network.name },
    { header: "VPC", cell: network => network.vpc },
    { header: "ZONE", cell: network => network.availabilityZone },
    { header: "SEGMENT", cell: network => formatSegment(network.segment) },
    { header: "PHYSICAL", wide: true, cell: network => network.segment.physicalNetwork },
    { header: "MTU", wide: true, cell: network => String(network.mtu) },
    { header: "SUBNETS", cell: network => network.subnets.map(({ cidr }) => cidr).join(",") },
    { header: "HELD", cell: network => String(network.subnets.reduce((sum, { usage }) => sum + usage.held, 0)) },
    { header: "AGE", cell: network => formatSince(network.createdAt, now) },
    { header: "LABELS", wide: true, cell: network => formatLabels(network.labels) },
  ];
}

interface Flags extends OutputFlag {
  selector?: string;
}

export function addGetNetworks(parent: Command, { io, action }: Context): void {
  parent
    .command("networks")
    .alias("network")
    .description("Lists networks, or shows the one named.")
    .argument("[name]", "only this network")
    .option("-l, --selector <selector>", "only networks whose labels match (Kubernetes syntax)")
    .addOption(createOutputOption())
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string | undefined, { selector, output }: Flags) => {
        const columns = createNetworkColumns(io.clock());
        if (name === undefined) {
          await writeList(io, output, { key: "networks", columns, pages: [await client.listNetworks(selector)] });
        } else if (selector === undefined) {
          await writeItem(io, output, columns, await client.readNetwork(name));
        } else {
          throw new CtlError("usage", "a name and a selector cannot be given together");
        }
        return undefined;
      }),
    );
}
