import { open, stat } from "node:fs/promises";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CtlError } from "../ctl-error.ts";

const EXAMPLES = `
Examples:
  $ mooringctl --server http://127.0.0.1:7071 import ipam.jsonl

Everything or nothing is imported. The server says "unavailable" to everybody else meanwhile.`;

export function addImportCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("import")
    .summary("fill an empty IPAM with an export")
    .description(
      "Fills a store that was just made with an export of any engine's, checks its books, reads everything back, and " +
        "prints the digest, which is the export's.",
    )
    .argument("<file>", "what mooringctl export saved")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, file: string) => {
        await using handle = await openFile(file);
        const { networks, ports, freed, digest } = await client.import(handle.createReadStream({ autoClose: false }));
        const what = `${networks} networks, ${ports} ports, ${freed} freed addresses`;
        await io.stdout.write(`imported ${what}\ndigest ${digest}\n`);
        return undefined;
      }),
    );
}

async function openFile(path: string) {
  try {
    if ((await stat(path)).isDirectory()) throw new Error("it is a directory");
    return await open(path, "r");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CtlError("usage", `cannot read ${path}: ${why}`, { advice: "Nothing was imported.", cause });
  }
}
