import type { Command } from "commander";
import { IpamError } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { formatAddresses } from "../output/format.ts";

const EXAMPLES = `
Examples:
  $ mooringctl describe port vm-7
  $ mooringctl activate vm-7 --host node-b

For a machine outside Kubernetes that was migrated: its target has claimed the port with "migration". KubeVirt's machines
are activated by the agent of the target's node. To cancel a migration: mooringctl release NAME --host TARGET.`;

export function addActivateCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("activate")
    .summary("make a migration target's binding the ACTIVE one")
    .description(
      "Makes a port's INACTIVE binding, of a migration's target, the ACTIVE one. The source is disconnected.",
    )
    .argument("<name>")
    .requiredOption("--host <host>", "the target's host")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string, { host }: { host: string }) => {
        const [result] = await client.activate([{ name, host }]);
        if (result === undefined) throw new IpamError("internal", "the IPAM answered an activation with no result");
        if ("problem" in result) throw IpamError.fromProblem(result.problem);
        const { port } = result;
        await io.stdout.write(`port/${name} is ACTIVE on ${host} with ${formatAddresses(port)}, epoch ${port.epoch}\n`);
        return undefined;
      }),
    );
}
