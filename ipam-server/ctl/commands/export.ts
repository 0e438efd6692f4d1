import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";
import { assertNotExisting, saveFile } from "../save-file.ts";
import { TransferTail } from "../transfer-tail.ts";

const EXAMPLES = `
Examples:
  $ mooringctl export ipam.jsonl
  $ mooringctl export --digest

Moving to another engine: while only you can reach the old server, export; import into the new one; both print the same
digest. What is claimed after the export is not in it. Events (mooringctl trace) stay behind.`;

export function addExportCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("export")
    .summary("save all networks, ports and addresses, to be imported into any store")
    .description(
      "Saves what the IPAM holds at one moment, while claims go on, as lines of JSON that an empty store of any engine " +
        "imports: networks with their cursors, ports, freed addresses and counters.",
    )
    .argument("[file]", "where to save it")
    .option("--digest", "save nothing, and print the digest: two stores that hold the same have the same")
    .option("--force", "replace the file if it is there")
    .addHelpText("after", EXAMPLES)
    .action(
      action(
        async (client, file: string | undefined, { digest, force = false }: { digest?: true; force?: boolean }) => {
          if ((file === undefined) !== (digest === true)) {
            throw new CtlError("usage", "give either a FILE to save the export in, or --digest");
          }
          if (file !== undefined) await assertNotExisting(file, force);
          const { chunks } = await client.export();
          const tail = new TransferTail();
          if (file === undefined) {
            for await (const chunk of chunks) tail.note(chunk);
            await io.stdout.write(`${tail.readEnd().digest}\n`);
            return undefined;
          }
          await saveFile(file, endedBy(chunks, tail), { force });
          const { rows, digest: found } = tail.readEnd();
          await io.stdout.write(`exported ${rows} rows to ${file}\ndigest ${found}\n`);
          return undefined;
        },
      ),
    );
}

/** An export without its end fails before it is put in its place. */
async function* endedBy(chunks: AsyncIterable<Uint8Array>, tail: TransferTail): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    tail.note(chunk);
    yield chunk;
  }
  tail.readEnd();
}
