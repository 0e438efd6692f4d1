import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";
import { assertMayWrite, saveFile } from "../save-file.ts";

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
      "Makes the server copy its database at one point in time, without stopping claims, and saves the copy " +
        "atomically, synced to disk.",
    )
    .argument("<file>", "the file to create")
    .option("--force", "replace an existing file")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, file: string, { force = false }: { force?: boolean }) => {
        await assertMayWrite(file, force);
        const { lengthBytes, chunks } = await client.backup();
        const size = await saveFile(file, assertComplete(chunks, lengthBytes), { force });
        await io.stdout.write(`backup saved in ${file}: ${size} bytes\n`);
        return undefined;
      }),
    );
}

async function* assertComplete(
  chunks: AsyncIterable<Uint8Array>,
  length: number | undefined,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    yield chunk;
  }
  if (length !== undefined && size !== length) {
    throw new CtlError("unreachable", `received ${size} of ${length} bytes`, { advice: "Try again." });
  }
}
