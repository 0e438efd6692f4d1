import type { Command } from "commander";
import type { Conflict } from "../../../contract/index.ts";
import type { Context } from "../../context.ts";
import { writeList } from "../../output/output.ts";
import { createOutputOption, type OutputFlag } from "../../output/output-option.ts";
import type { Column } from "../../output/table.ts";

const DETAILS = `
Each is an address that another machine answers for. It is not assigned until it is cleared.

Examples:
  $ mooringctl get conflicts
  $ mooringctl delete conflict 10.100.1.7`;

const COLUMNS: Column<Conflict>[] = [
  { header: "ADDRESS", cell: ({ address }) => address },
  { header: "NETWORK", cell: ({ network }) => network },
  { header: "MAC", cell: ({ mac }) => mac },
  { header: "FOUND BY", cell: ({ host }) => host },
  { header: "FOUND", cell: ({ foundAt }) => foundAt },
  { header: "PORT", wide: true, cell: ({ port }) => port },
  { header: "SUBNET", wide: true, cell: ({ subnet }) => subnet },
];

export function addGetConflicts(parent: Command, { io, action }: Context): void {
  parent
    .command("conflicts")
    .alias("conflict")
    .description("Lists the addresses that other machines use.")
    .addOption(createOutputOption())
    .addHelpText("after", DETAILS)
    .action(
      action(async (client, { output }: OutputFlag) => {
        await writeList(io, output, { key: "conflicts", columns: COLUMNS, pages: [await client.listConflicts()] });
        return undefined;
      }),
    );
}
