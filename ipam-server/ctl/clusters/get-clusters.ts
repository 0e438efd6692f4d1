import type { Command } from "commander";
import { type Cluster, type HeldPass, IpamError } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { formatAge } from "../output/age.ts";
import { writeItem, writeList } from "../output/output.ts";
import { createOutputOption, type OutputFlag } from "../output/output-option.ts";
import type { Column } from "../output/table.ts";

const EXAMPLES = `
Examples:
  $ mooringctl get clusters
  $ mooringctl get clusters c1 -o yaml

HELD shows a pass of the cluster's controller that would end too many ports at once, until a person confirms it:
mooringctl confirm c1 PASS.`;

export function addGetClusters(parent: Command, { io, action }: Context): void {
  const columns: Column<Cluster>[] = [
    { header: "NAME", cell: cluster => cluster.name },
    { header: "UID", cell: cluster => cluster.uid },
    { header: "AGE", cell: cluster => formatAge(io.clock().getTime() - Date.parse(cluster.registeredAt)) },
    { header: "HELD", cell: ({ heldPass }) => heldPass && formatPass(heldPass) },
  ];
  parent
    .command("clusters")
    .alias("cluster")
    .description("Lists the registered Kubernetes clusters, and what their controllers hold back.")
    .argument("[name]", "only this cluster")
    .addOption(createOutputOption())
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string | undefined, { output }: OutputFlag) => {
        const clusters = await client.listClusters();
        if (name === undefined) {
          await writeList(io, output, { key: "clusters", columns, pages: [clusters] });
          return undefined;
        }
        const only = clusters.find(cluster => cluster.name === name);
        if (only === undefined) throw new IpamError("not_found", `no cluster is registered as ${name}`);
        await writeItem(io, output, columns, only);
        return undefined;
      }),
    );
}

function formatPass({ id, releases, deletions, ports, confirmedUntil }: HeldPass): string {
  const state = confirmedUntil === undefined ? "" : `, confirmed until ${confirmedUntil}`;
  return `${id}: ${releases} releases, ${deletions} deletions of ${ports} ports${state}`;
}
