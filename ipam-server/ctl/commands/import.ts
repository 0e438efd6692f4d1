import { open, stat } from "node:fs/promises";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";

const EXAMPLES = `
Examples:
  $ mooringctl --server http://127.0.0.1:7071 import ipam.jsonl

All or nothing is imported. Meanwhile the server answers all other requests with "unavailable".`;

export function addImportCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("import")
    .summary("fill an empty IPAM with an export")
    .description(
      "Fills an empty store with an export of any engine, checks that it is consistent, reads everything back, and " +
        "prints the digest, which equals the export's.",
    )
    .argument("<file>", "the file saved by mooringctl export")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, file: string) => {
        await using handle = await openFile(file);
        const { networks, ports, freed, digest } = await client.import(handle.createReadStream({ autoClose: false }));
        const counts = `${networks} networks, ${ports} ports, ${freed} freed addresses`;
        await io.stdout.write(`imported ${counts}\ndigest ${digest}\n`);
        return undefined;
      }),
    );
}

async function openFile(path: string) {
  try {
    if ((await stat(path)).isDirectory()) throw new Error("it is a directory");
    return await open(path, "r");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CtlError("usage", `cannot read ${path}: ${reason}`, { advice: "Nothing was imported.", cause });
  }
}
