import type { Command } from "commander";
import type { Context } from "../context.ts";

const EXAMPLES = `
Example:
  $ mooringctl get clusters
  $ mooringctl confirm c1 3fa2910b

A controller that would end more than 20 ports and more than a tenth of its cluster's in one pass holds it: so much at once
is rather a fault than wanted. Confirm it only if those pods and workloads are gone indeed. Nothing else is let through,
and only within ten minutes.`;

export function addConfirmCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("confirm")
    .summary("let a held pass of a cluster's controller run")
    .description("Lets the pass run that the cluster's controller holds back.")
    .argument("<cluster>")
    .argument("<pass>", "its id, as mooringctl get clusters shows it")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string, pass: string) => {
        const { heldPass } = await client.confirmPass(name, pass);
        const until = heldPass?.confirmedUntil ?? "it has run";
        await io.stdout.write(`cluster/${name}: pass ${pass} may run until ${until}\n`);
        return undefined;
      }),
    );
}
