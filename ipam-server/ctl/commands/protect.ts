import type { Command } from "commander";
import type { Context } from "../context.ts";

const EXAMPLES = `
Examples:
  $ mooringctl protect c1/shop/db-0
  $ mooringctl unprotect c1/shop/db-0

A protected port keeps its addresses and MAC when its pod, its workload, its retention or its cluster has ended. Its binding
still ends and moves as usual.`;

export function addProtectCommands(parent: Command, { io, action }: Context): void {
  const add = (verb: "protect" | "unprotect", summary: string, description: string) =>
    parent
      .command(verb)
      .summary(summary)
      .description(description)
      .argument("<name...>")
      .addHelpText("after", EXAMPLES)
      .action(
        action(async (client, names: string[]) => {
          for (const name of names) {
            const { fixedIps } = await client.protectPort(name, verb === "protect");
            const addresses = fixedIps.map(({ address }) => address).join(",");
            await io.stdout.write(`port/${name} ${verb}ed (${addresses})\n`);
          }
          return undefined;
        }),
      );
  add(
    "protect",
    "protect ports from every deletion",
    "Protects ports from every deletion, until they are unprotected.",
  );
  add(
    "unprotect",
    "let protected ports be deleted again",
    "Ends the protection of ports; their retention begins again.",
  );
}
