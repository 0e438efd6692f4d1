import type { Command } from "commander";
import { IpamError } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";

const EXAMPLES = `
Examples:
  $ mooringctl purge cluster c1          # shows what would be removed
  $ mooringctl purge cluster c1 --yes

Stop the cluster's agents and controller first: they would claim and register again. Reserved ports are only unbound;
delete them by name. Protected ports are kept, and the name with them, until you unprotect them. The command can be run
again after an interruption.`;

export function addPurgeCommand(parent: Command, { io, action }: Context): void {
  const purge = parent
    .command("purge")
    .summary("remove all ports of a retired cluster")
    .description("Removes all ports of a retired cluster.");
  purge
    .command("cluster")
    .description("Removes all ports of a retired cluster, bound ones too, and frees its name.")
    .argument("<name>")
    .option("--yes", "remove them; without it the command only shows what it would remove")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string, { yes = false }: { yes?: boolean }) => {
        if (!yes) {
          const ports = await client.listPorts({ cluster: name });
          const hosts = new Set(ports.flatMap(({ binding }) => binding?.host ?? []));
          const bound = ports.filter(({ binding }) => binding !== undefined).length;
          throw new CtlError(
            "refused",
            `cluster ${name} has ${ports.length} ports, ${bound} of them bound on ${hosts.size} hosts: nothing removed`,
            { advice: `To remove them: mooringctl purge cluster ${name} --yes.` },
          );
        }
        const sum = { deleted: 0, unbound: 0, kept: 0 };
        for await (const page of client.purgePorts(name)) {
          for (const key of ["deleted", "unbound", "kept"] as const) sum[key] += page[key];
        }
        const { deleted, unbound, kept } = sum;
        await io.stdout.write(
          `cluster/${name}: ${deleted} ports deleted, ${unbound} reserved ones unbound, ${kept} kept\n`,
        );
        if (kept > 0) {
          await io.stdout.write(
            `cluster/${name} stays registered: unprotect the ports that were kept (mooringctl unprotect NAME), and purge again\n`,
          );
          return undefined;
        }
        await client.removeCluster(name).catch(error => {
          if (!(error instanceof IpamError && error.code === "not_found")) throw error;
        });
        await io.stdout.write(`cluster/${name} removed: its name is free\n`);
        return undefined;
      }),
    );
}
