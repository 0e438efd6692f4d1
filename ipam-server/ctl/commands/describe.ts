import type { Command } from "commander";
import type { Context } from "../context.ts";
import { describeNetwork } from "../output/describe-network.ts";
import { describePort } from "../output/describe-port.ts";

const EXAMPLES = `
Examples:
  $ mooringctl describe port c1/default/web-0
  $ mooringctl describe network prod-a`;

export function addDescribeCommand(parent: Command, { io, action }: Context): void {
  const describe = parent
    .command("describe")
    .summary("show details of one port or network")
    .description("Shows details of one port or network for people. Scripts use get -o json.")
    .addHelpText("after", EXAMPLES);
  describe
    .command("port")
    .description("Shows details of one port.")
    .argument("<name>")
    .addHelpText("after", "\nExample:\n  $ mooringctl describe port c1/default/web-0")
    .action(
      action(async (client, name: string) => {
        const port = await client.readPort(name);
        const network = await client.readNetwork(port.network);
        await io.stdout.write(describePort(port, network, io.clock()));
        return undefined;
      }),
    );
  describe
    .command("network")
    .description("Shows details of one network and its subnets.")
    .argument("<name>")
    .addHelpText("after", "\nExample:\n  $ mooringctl describe network prod-a")
    .action(
      action(async (client, name: string) => {
        await io.stdout.write(describeNetwork(await client.readNetwork(name), io.clock()));
        return undefined;
      }),
    );
}
