import { Command } from "commander";
import { IpamError } from "./contract/index.ts";
import type { RestoredContent } from "./domain/transfer/restore-offsets.ts";
import { OptionError } from "./process/options.ts";

/** What the command uses of its process. */
interface RestoreIo {
  env: Readonly<Record<string, string | undefined>>;
  writeOut(text: string): void;
  writeErr(text: string): void;
  /** Milliseconds since 1970. */
  now(): number;
  setExitCode(code: number): void;
}

interface Options {
  database?: string;
  force?: boolean;
}

interface Restored {
  place: string;
  content: RestoredContent;
  /** Where the former database is kept. */
  replaced?: string | undefined;
}

const EXAMPLES = `
Examples:
  $ mooring-ipam restore ipam-2026-11-20.db --database sqlite:/var/lib/mooring/ipam.db
  $ mooring-ipam restore ipam-2026-11-20.db --database sqlite:/var/lib/mooring/ipam.db --force
  $ pg_restore --exit-on-error --single-transaction --dbname mooring ipam-2026-11-20.dump
  $ mooring-ipam restore --database postgres://mooring@db1/mooring

Works on the database itself: stop the servers first. On files, run it as the user that runs the server. What a backup does
not contain, and what to do about it: docs/operations.md, "After restoring".

Exit codes: 0 restored, 1 refused, 2 wrong usage.`;

const NEXT_STEPS = `Addresses claimed after the newest change are free in this database. Keep new pods from starting until every node's agent
has compared its pods with the IPAM: docs/operations.md, "After restoring".`;

/** `mooring-ipam restore`: prepares a backup, or a restored PostgreSQL database, for serving. Reports its exit code to `io`. */
export function createRestoreCommand(io: RestoreIo): Command {
  return new Command("restore")
    .summary("replace a stopped server's database with a backup")
    .description(
      "SQLite: checks a backup and puts it in place as the database of a stopped server. PostgreSQL: checks the database " +
        "that pg_restore or a base backup has restored. Epochs and event numbers continue far above the backup's, so that " +
        "every new binding is newer than any made after the backup was taken.",
    )
    .argument("[file]", "SQLite: the file saved by mooringctl backup, or a stopped server's own file")
    .option("--database <url>", "the database: sqlite:PATH or postgres://... (env MOORING_DATABASE)")
    .option("--force", "SQLite: replace an existing database; it is kept as PATH.replaced-TIME")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .action(async (file: string | undefined, options: Options) => {
      try {
        const restored = await restore(options.database ?? io.env.MOORING_DATABASE ?? "", file, options, io.now());
        io.writeOut(`${formatRestored(restored)}\n${NEXT_STEPS}\n`);
      } catch (error) {
        io.writeErr(`mooring-ipam: ${error instanceof Error ? error.message : String(error)}\n`);
        io.setExitCode(error instanceof OptionError ? 2 : 1);
      }
    });
}

// The engines are loaded on demand: one run needs one of them.
async function restore(database: string, file: string | undefined, { force }: Options, now: number): Promise<Restored> {
  if (/^postgres(ql)?:/.test(database)) {
    if (file !== undefined) {
      throw new IpamError(
        "conflict",
        "a PostgreSQL database is restored by its own tools (pg_restore, or a base backup and its log); do that first, then run mooring-ipam restore without a file",
      );
    }
    if (force) throw new OptionError("--force is for files; pg_restore has --clean");
    const { finishRestoration } = await import("./storage/postgres/transfer/restore-database.ts");
    const { name, ...content } = await finishRestoration(database, now);
    return { place: name, content };
  }
  const path = /^sqlite:(.+)$/.exec(database)?.[1];
  if (path === undefined) {
    throw new OptionError(`--database: "${database}" names no database: write sqlite:PATH or postgres://...`);
  }
  if (file === undefined) throw new OptionError("give the FILE of the backup");
  const { restoreDatabase } = await import("./storage/sqlite/transfer/restore-database.ts");
  const { replaced, ...content } = await restoreDatabase({ backup: file, path, force: force ?? false, now });
  return { place: path, content, replaced };
}

function formatRestored({ place, content, replaced }: Restored): string {
  const { newestChange, networks, ports, bound, minimumEpoch, minimumSeq } = content;
  const fields = [
    ["Restored", place],
    ["Newest change", newestChange === undefined ? "none" : new Date(newestChange).toISOString()],
    ["Holds", `${networks} networks, ${ports} ports, ${bound} of them bound`],
    ["New epochs", `from ${minimumEpoch + 1} on`],
    ["New events", `from ${minimumSeq + 1} on`],
    ...(replaced === undefined ? [] : [["Replaced", `kept as ${replaced}`]]),
  ];
  return fields.map(([label, value]) => `${`${label}:`.padEnd("Newest change:".length)}  ${value}\n`).join("");
}
