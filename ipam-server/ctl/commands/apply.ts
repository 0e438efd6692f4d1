import type { Command } from "commander";
import type { FullIpamClient } from "../../client/client.ts";
import { IpamError } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { CtlError, EXIT_CODES } from "../ctl-error.ts";
import type { Io } from "../io.ts";
import { assertNoRepetition, type LocatedManifest, parseManifests } from "../manifest.ts";
import { formatIpamError } from "../report-error.ts";

const EXAMPLES = `
Examples:
  $ mooringctl apply -f networks.yaml
  $ mooringctl apply -f az1.yaml -f az2.yaml
  $ generate-networks | mooringctl apply -f -

Applying the same files again changes nothing. Networks that are not in the files are kept: see mooringctl delete.`;

export function addApplyCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("apply")
    .summary("declare networks and their subnets")
    .description("Creates or changes networks to match the YAML documents, and prints what changed.")
    .requiredOption("-f, --filename <file...>", "YAML files, or - for standard input")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, { filename }: { filename: string[] }) => {
        const manifests = await readManifests(filename, io);
        let refused = false;
        for (const located of manifests) refused = !(await applyOne(client, located, io)) || refused;
        return refused ? EXIT_CODES.refused : undefined;
      }),
    );
}

/** Reads and validates all documents before the first call, so that a mistake in the last file applies nothing. */
async function readManifests(files: readonly string[], io: Io): Promise<LocatedManifest[]> {
  const manifests: LocatedManifest[] = [];
  for (const file of files) {
    const source = file === "-" ? "standard input" : file;
    manifests.push(...parseManifests(source, await readSource(file, source, io)));
  }
  if (manifests.length === 0) {
    throw new CtlError("usage", `no document in ${files.join(", ")}`, {
      advice: "Expected YAML documents with apiVersion: mooring.dev/v1 and kind: Network.",
    });
  }
  assertNoRepetition(manifests);
  return manifests;
}

async function readSource(file: string, source: string, io: Io): Promise<string> {
  try {
    return file === "-" ? await io.readStdin() : io.readFile(file);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CtlError("usage", `cannot read ${source}: ${reason}`, { advice: "Nothing was applied.", cause });
  }
}

/** Applies one network. Returns false if the server refuses it; the others are still applied. */
async function applyOne(client: FullIpamClient, { manifest, where }: LocatedManifest, io: Io): Promise<boolean> {
  const label = `network/${manifest.metadata.name}`;
  try {
    const { outcome, changes } = await client.putNetwork(manifest);
    const details = outcome === "changed" ? ` (${changes.join("; ")})` : "";
    await io.stdout.write(`${label} ${outcome}${details}\n`);
    return true;
  } catch (error) {
    if (!(error instanceof IpamError)) throw error;
    await io.stderr.write(`mooringctl: ${where}: ${label} not applied: ${formatIpamError(error)}`);
    return false;
  }
}
