import type { Command } from "commander";
import type { Recovery } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { formatFields } from "../output/output.ts";

const EXAMPLES = `
Examples:
  $ mooringctl recovery
  $ mooringctl recovery --end

After a restore from a backup the IPAM assigns nothing new until every host has reported that what it has plugged is claimed
again, at most 15 minutes. End it earlier only if the hosts that are missing are switched off for good: an address that a
pod uses there could be given to another pod.`;

export function addRecoveryCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("recovery")
    .summary("show or end the recovery after a restore")
    .description("Shows which hosts the IPAM waits for after a restore.")
    .option("--end", "assign addresses again, without the reports that are missing")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, { end = false }: { end?: boolean }) => {
        await io.stdout.write(format(end ? await client.endRecovery() : await client.readRecovery()));
        return undefined;
      }),
    );
}

function format(recovery: Recovery): string {
  if (!recovery.active) return formatFields([["Recovery", "none"]]);
  const { since, until, waitingFor } = recovery;
  return formatFields([
    ["Recovery", `since ${since}, until ${until} at most`],
    ["Waiting for", waitingFor.length === 0 ? "agents that connect late" : `${waitingFor.length} hosts`],
    ...waitingFor.map(({ cluster = "", host, pending }): [string, string] => [
      `  ${host}`,
      `${cluster} ${pending === undefined ? "no report" : `${pending} interfaces not claimed yet`}`.trim(),
    ]),
  ]);
}
