import { CommanderError } from "commander";
import { createRestoreCommand } from "../../../ipam-server/restore.ts";

/** Runs `mooring-ipam restore` in this process and returns what a shell would see. */
export async function runRestore(args: readonly string[], env: Record<string, string> = {}) {
  const run = { exitCode: 0, stdout: "", stderr: "" };
  const command = createRestoreCommand({
    env,
    writeOut: text => {
      run.stdout += text;
    },
    writeErr: text => {
      run.stderr += text;
    },
    now: Date.now,
    setExitCode: code => {
      run.exitCode = code;
    },
  });
  try {
    await command.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    run.exitCode = error.exitCode === 0 ? 0 : 2;
  }
  return run;
}
