import type { Command } from "commander";
import type { Finding } from "../client.ts";
import { EXIT_CODES } from "../ctl-error.ts";
import { writeList } from "../output.ts";
import { createOutputOption, type OutputFlag } from "../output-option.ts";
import type { Context } from "../program.ts";
import type { Column } from "../table.ts";

const EXAMPLES = `
Examples:
  $ mooringctl check
  $ mooringctl check -o json

Exits with 1 when something was found.`;

const COLUMNS: Column<Finding>[] = [
  { header: "WHERE", cell: finding => finding.where },
  { header: "WHAT", cell: finding => finding.what },
];

export function addCheckCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("check")
    .summary("have the IPAM compare its books")
    .description("Has the IPAM compare its held addresses, ports, counters and queues, and lists what does not agree.")
    .addOption(createOutputOption(["json", "yaml"]))
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, { output }: OutputFlag) => {
        const findings = await client.check();
        if (findings.length === 0 && output === undefined) {
          await io.stdout.write("The books agree: held addresses, ports, counters and queues.\n");
        } else {
          await writeList(io, output, { key: "findings", columns: COLUMNS, pages: [findings] });
        }
        if (findings.length === 0) return undefined;
        await io.stderr.write(
          `mooringctl: ${findings.length} found; please report them, with the database kept as it is\n`,
        );
        return EXIT_CODES.refused;
      }),
    );
}
