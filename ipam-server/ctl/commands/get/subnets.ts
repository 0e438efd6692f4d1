import type { Command } from "commander";
import { IpamError, type Subnet } from "../../../contract/index.ts";
import type { Context } from "../../context.ts";
import { formatCount, formatShare } from "../../output/format.ts";
import { writeItem, writeList } from "../../output/output.ts";
import { createOutputOption, type OutputFlag } from "../../output/output-option.ts";
import type { Column } from "../../output/table.ts";

const EXAMPLES = `
Examples:
  $ mooringctl get subnets
  $ mooringctl get subnets --network prod-a -o wide
  $ mooringctl get subnets 10.100.0.0/16 -o json

FREED counts released addresses that wait for reuse.`;

/** A subnet with the name of its network. */
type NetworkSubnet = { network: string } & Subnet;

const COLUMNS: Column<NetworkSubnet>[] = [
  { header: "CIDR", cell: subnet => subnet.cidr },
  { header: "NETWORK", cell: subnet => subnet.network },
  { header: "GATEWAY", cell: subnet => subnet.gateway },
  { header: "HELD", cell: subnet => String(subnet.usage.held) },
  { header: "SIZE", cell: subnet => formatCount(subnet.usage.size) },
  { header: "USED", cell: subnet => formatShare(subnet.usage) },
  { header: "FREED", cell: subnet => String(subnet.usage.freed) },
  { header: "POOLS", wide: true, cell: subnet => subnet.pools.join(",") },
  { header: "EXCLUDE", wide: true, cell: subnet => subnet.exclude.join(",") },
  { header: "DNS", wide: true, cell: subnet => subnet.dns.nameservers?.join(",") },
];

interface Flags extends OutputFlag {
  selector?: string;
  network?: string;
}

export function addGetSubnets(parent: Command, { io, action }: Context): void {
  parent
    .command("subnets")
    .alias("subnet")
    .description("Lists subnets and how full they are.")
    .argument("[cidr]", "only this subnet")
    .option("-l, --selector <selector>", "only subnets of networks whose labels match (Kubernetes syntax)")
    .option("--network <name>", "only subnets of this network")
    .addOption(createOutputOption())
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, cidr: string | undefined, { selector, network, output }: Flags) => {
        const networks = (await client.listNetworks(selector)).filter(({ name }) => name === (network ?? name));
        const subnets = networks.flatMap(({ name, subnets }) => subnets.map(subnet => ({ network: name, ...subnet })));
        if (cidr === undefined) {
          await writeList(io, output, { key: "subnets", columns: COLUMNS, pages: [subnets] });
          return undefined;
        }
        // Several VPCs may have the same CIDR.
        const named = subnets.filter(subnet => subnet.cidr === cidr);
        const [only] = named;
        if (only === undefined) throw new IpamError("not_found", `no subnet ${cidr} among those selected`);
        if (named.length === 1) await writeItem(io, output, COLUMNS, only);
        else await writeList(io, output, { key: "subnets", columns: COLUMNS, pages: [named] });
        return undefined;
      }),
    );
}
