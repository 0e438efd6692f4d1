import type { Command } from "commander";
import { IpamError, type Network } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { EXIT_CODES } from "../ctl-error.ts";
import { formatCount } from "../output/format.ts";
import { formatFields } from "../output/output.ts";

const EXAMPLES = `
Examples:
  $ mooringctl status
  $ mooringctl --server unix:/run/mooring/ipam.sock status

Exits with 1 if the server is not ready, with 3 if it cannot be reached.`;

export function addStatusCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("status")
    .summary("show whether the IPAM is ready, and its totals")
    .description("Shows whether the IPAM accepts changes, and its networks, subnets and addresses.")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async client => {
        const refusal = await client.ready().then(
          () => undefined,
          (error: unknown) => {
            if (error instanceof IpamError) return error;
            throw error;
          },
        );
        if (refusal !== undefined) {
          await io.stdout.write(formatFields([["Ready", `no: ${refusal.message}`]]));
          return EXIT_CODES.refused;
        }
        await io.stdout.write(formatFields([["Ready", "yes"], ...summarize(await client.listNetworks())]));
        return undefined;
      }),
    );
}

function summarize(networks: readonly Network[]): [label: string, value: string][] {
  const subnets = networks.flatMap(network => network.subnets);
  const held = subnets.reduce((sum, { usage }) => sum + usage.held, 0);
  const freed = subnets.reduce((sum, { usage }) => sum + usage.freed, 0);
  const size = subnets.reduce((sum, { usage }) => sum + BigInt(usage.size), 0n);
  return [
    ["Networks", String(networks.length)],
    ["Subnets", String(subnets.length)],
    ["Addresses", `${held} held of ${formatCount(String(size))}, ${freed} freed`],
  ];
}
