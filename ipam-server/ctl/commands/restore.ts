import type { Command } from "commander";
import { IpamError } from "../../contract/index.ts";
import { CtlError } from "../ctl-error.ts";
import { formatFields } from "../output.ts";
import type { Context } from "../program.ts";

const EXAMPLES = `
Examples:
  $ mooringctl restore ipam-2026-11-20.db --database sqlite:/var/lib/mooring/ipam.db
  $ mooringctl restore ipam-2026-11-20.db --database sqlite:/var/lib/mooring/ipam.db --force

Works on files: stop the server first, and run it as the user that runs the server. What a backup does not know of, and
what to do about it: docs/operations.md, "After restoring".`;

export function addRestoreCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("restore")
    .summary("put a backup in the place of a stopped server's database (SQLite)")
    .description(
      "Checks a backup, and puts it in place as the database of a server that does not run. Epochs and event numbers go " +
        "on far ahead of the backup's, so that no later binding counts as older than one that the backup knows nothing of.",
    )
    .argument("<file>", "what mooringctl backup saved, or a stopped server's own file")
    .requiredOption("--database <url>", "the database to be: sqlite:PATH")
    .option("--force", "replace a database that is there; it is kept beside the new one")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (_client, file: string, { database, force = false }: { database: string; force?: boolean }) => {
        const path = parsePath(database);
        // Only this command opens databases: the others need not wait for the engine to load.
        const { restoreDatabase } = await import("../../storage/sqlite/restore-database.ts");
        const now = io.clock();
        const restored = await restoreDatabase({ backup: file, path, force, now: now.getTime() });
        const { newestChange, networks, ports, bound, epochFloor, eventFloor, replaced } = restored;
        const newest = newestChange === undefined ? "none" : new Date(newestChange).toISOString();
        await io.stdout.write(
          formatFields([
            ["Restored", path],
            ["Newest change", newest],
            ["Holds", `${networks} networks, ${ports} ports, ${bound} of them bound`],
            ["New epochs", `from ${epochFloor + 1} on`],
            ["New events", `from ${eventFloor + 1} on`],
            ...(replaced === undefined ? [] : [["Replaced", `kept as ${replaced}`] as const]),
          ]),
        );
        await io.stdout.write(`\n${NEXT}\n`);
        return undefined;
      }),
    );
}

const NEXT = `What was claimed after that newest change is free here. Keep new pods from starting until every node's agent has
compared what it runs with the IPAM: docs/operations.md, "After restoring".`;

function parsePath(database: string): string {
  const path = /^sqlite:(.+)$/.exec(database)?.[1];
  if (path !== undefined) return path;
  if (/^postgres(ql)?:/.test(database)) {
    throw new IpamError(
      "conflict",
      "a PostgreSQL database is restored by its own tools: pg_restore, or a base backup and its log",
    );
  }
  throw new CtlError("usage", `--database: "${database}" names no database: write sqlite:PATH`);
}
