import type { Command } from "commander";
import type { Context } from "../context.ts";

const EXAMPLES = `
Examples:
  $ mooringctl delete port c1/default/web-0
  $ mooringctl delete network prod-a

A network can be deleted only if no port holds an address of it. A deleted port's addresses can be allocated again after
the reuse delay.`;

export function addDeleteCommand(parent: Command, { io, action }: Context): void {
  const remove = parent
    .command("delete")
    .summary("delete ports or networks")
    .description("Deletes ports or networks permanently.")
    .addHelpText("after", EXAMPLES);
  remove
    .command("port")
    .alias("ports")
    .description("Deletes ports and frees their addresses.")
    .argument("<name...>")
    .addHelpText("after", "\nExample:\n  $ mooringctl delete port c1/default/web-0")
    .action(
      action(async (client, names: string[]) => {
        for (const name of names) {
          await client.deletePort(name);
          await io.stdout.write(`port/${name} deleted\n`);
        }
        return undefined;
      }),
    );
  remove
    .command("network")
    .alias("networks")
    .description("Deletes networks without ports.")
    .argument("<name...>")
    .addHelpText("after", "\nExample:\n  $ mooringctl delete network prod-a")
    .action(
      action(async (client, names: string[]) => {
        for (const name of names) {
          await client.deleteNetwork(name);
          await io.stdout.write(`network/${name} deleted\n`);
        }
        return undefined;
      }),
    );
}
