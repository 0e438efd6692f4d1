import type { Command } from "commander";
import type { Context } from "../context.ts";

const EXAMPLES = `
Examples:
  $ mooringctl delete port c1/default/web-0
  $ mooringctl delete network prod-a
  $ mooringctl delete conflict 10.100.1.7

A network can be deleted only if no port holds an address of it. A deleted port's addresses can be allocated again after
the reuse delay.`;

export function addDeleteCommand(parent: Command, { io, action }: Context): void {
  const remove = parent
    .command("delete")
    .summary("delete ports, networks or conflicts")
    .description("Deletes ports or networks permanently, or clears conflicts.")
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
  remove
    .command("conflict")
    .alias("conflicts")
    .description("Lets addresses be assigned again that another machine used. They are probed before their next use.")
    .argument("<address...>")
    .option("--network <name>", "the network, where several have the address")
    .addHelpText("after", "\nExample:\n  $ mooringctl delete conflict 10.100.1.7")
    .action(
      action(async (client, addresses: string[], { network }: { network?: string }) => {
        for (const address of addresses) {
          await client.clearConflict(address, network);
          await io.stdout.write(`conflict/${address} cleared\n`);
        }
        return undefined;
      }),
    );
}
