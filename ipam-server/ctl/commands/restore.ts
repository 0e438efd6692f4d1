import type { Command } from "commander";
import { IpamError } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";
import { formatFields } from "../output/output.ts";

const EXAMPLES = `
Examples:
  $ mooringctl restore ipam-2026-11-20.db --database sqlite:/var/lib/mooring/ipam.db
  $ mooringctl restore ipam-2026-11-20.db --database sqlite:/var/lib/mooring/ipam.db --force
  $ pg_restore --exit-on-error --single-transaction --dbname mooring ipam-2026-11-20.dump
  $ mooringctl restore --database postgres://mooring@db1/mooring

Works on the database itself: stop the servers first. On files, run it as the user that runs the server. What a backup does
not know of, and what to do about it: docs/operations.md, "After restoring".`;

interface Options {
  database?: string;
  force?: boolean;
}

export function addRestoreCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("restore")
    .summary("put a backup in the place of a stopped server's database")
    .description(
      "SQLite: checks a backup, and puts it in place as the database of a server that does not run. PostgreSQL: checks the " +
        "database that pg_restore or a base backup has put back. Epochs and event numbers go on far ahead of the backup's, so " +
        "that no later binding counts as older than one that the backup knows nothing of.",
    )
    .argument("[file]", "SQLite: what mooringctl backup saved, or a stopped server's own file")
    .option("--database <url>", "the database: sqlite:PATH or postgres://... (env MOORING_DATABASE)")
    .option("--force", "SQLite: replace a database that is there; it is kept beside the new one")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (_client, file: string | undefined, options: Options) => {
        const database = options.database ?? io.env.MOORING_DATABASE ?? "";
        const restore = /^postgres(ql)?:/.test(database) ? finishPostgres : restoreSqlite;
        const { place, content, replaced } = await restore(database, file, options, io.clock().getTime());
        const { newestChange, networks, ports, bound, epochFloor, eventFloor } = content;
        const newest = newestChange === undefined ? "none" : new Date(newestChange).toISOString();
        await io.stdout.write(
          formatFields([
            ["Restored", place],
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

// Only this command opens databases: the others need not wait for the engines to load.

async function restoreSqlite(database: string, file: string | undefined, { force = false }: Options, now: number) {
  const path = /^sqlite:(.+)$/.exec(database)?.[1];
  if (path === undefined) {
    throw new CtlError("usage", `--database: "${database}" names no database: write sqlite:PATH or postgres://...`);
  }
  if (file === undefined) throw new CtlError("usage", "give the FILE of the backup");
  const { restoreDatabase } = await import("../../storage/sqlite/restore-database.ts");
  const { replaced, ...content } = await restoreDatabase({ backup: file, path, force, now });
  return { place: path, content, replaced };
}

async function finishPostgres(url: string, file: string | undefined, { force }: Options, now: number) {
  if (file !== undefined) {
    throw new IpamError(
      "conflict",
      "a PostgreSQL database is restored by its own tools (pg_restore, or a base backup and its log); do that first, then run mooringctl restore without a file",
    );
  }
  if (force) throw new CtlError("usage", "--force is for files; pg_restore has --clean");
  const { finishRestoration } = await import("../../storage/postgres/restored-database.ts");
  const { name, ...content } = await finishRestoration(url, now);
  return { place: name, content, replaced: undefined };
}
