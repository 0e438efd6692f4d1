import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";
import { assertNotExisting, saveFile } from "../save-file.ts";

const EXAMPLES = `
Examples:
  $ mooringctl backup ipam-$(date +%F).db
  $ mooringctl backup --force /backup/ipam.db

The file is a complete database: mooring-ipam restore puts it in place. Back up a server on PostgreSQL with pg_dump or
pg_basebackup.`;

export function addBackupCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("backup")
    .summary("save a copy of a running server's database (SQLite)")
    .description(
      "Has the server copy its database as it is at one moment, while claims go on, and saves the copy: whole and on the " +
        "disk, or not at all.",
    )
    .argument("<file>", "where to save it")
    .option("--force", "replace the file if it is there")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, file: string, { force = false }: { force?: boolean }) => {
        await assertNotExisting(file, force);
        const { length, chunks } = await client.backup();
        const size = await saveFile(file, wholeOf(chunks, length), { force });
        await io.stdout.write(`backup saved in ${file}: ${size} bytes\n`);
        return undefined;
      }),
    );
}

async function* wholeOf(chunks: AsyncIterable<Uint8Array>, length: number | undefined): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    yield chunk;
  }
  if (length !== undefined && size !== length) {
    throw new CtlError("unreachable", `${size} of ${length} bytes came`, { advice: "Try again." });
  }
}
