import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";
import { assertMayWrite, saveFile } from "../save-file.ts";
import { TransferTail } from "../transfer-tail.ts";

const EXAMPLES = `
Examples:
  $ mooringctl export ipam.jsonl
  $ mooringctl export --digest

To move to another engine: while only you can reach the old server, export, then import into the new one; both print the
same digest. Claims made after the export are not in it, and events (mooringctl trace) are not exported.`;

export function addExportCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("export")
    .summary("save all networks, ports and addresses for import into any store")
    .description(
      "Saves the IPAM's state at one point in time, without stopping claims, as lines of JSON that an empty store of " +
        "any engine imports: networks with their cursors, ports, freed addresses and counters.",
    )
    .argument("[file]", "the file to create")
    .option("--digest", "print only the digest; equal stores have equal digests")
    .option("--force", "replace an existing file")
    .addHelpText("after", EXAMPLES)
    .action(
      action(
        async (client, file: string | undefined, { digest, force = false }: { digest?: true; force?: boolean }) => {
          if ((file === undefined) !== (digest === true)) {
            throw new CtlError("usage", "give either a FILE to save the export in, or --digest");
          }
          if (file !== undefined) await assertMayWrite(file, force);
          const { chunks } = await client.export();
          const tail = new TransferTail();
          if (file === undefined) {
            for await (const chunk of chunks) tail.append(chunk);
            await io.stdout.write(`${tail.readEnd().digest}\n`);
            return undefined;
          }
          await saveFile(file, assertEnd(chunks, tail), { force });
          const { rows, digest: found } = tail.readEnd();
          await io.stdout.write(`exported ${rows} rows to ${file}\ndigest ${found}\n`);
          return undefined;
        },
      ),
    );
}

/** Passes the chunks on, and fails at the end if the export is incomplete, so that it is not saved. */
async function* assertEnd(chunks: AsyncIterable<Uint8Array>, tail: TransferTail): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    tail.append(chunk);
    yield chunk;
  }
  tail.readEnd();
}
