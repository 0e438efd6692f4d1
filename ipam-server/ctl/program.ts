import { Command, CommanderError } from "commander";
import { createIpamClient } from "../client/client.ts";
import { addOptions, readOptions } from "../process/options.ts";
import { addActivateCommand } from "./bindings/activate.ts";
import { addReleaseCommand } from "./bindings/release.ts";
import { addConfirmCommand } from "./clusters/confirm.ts";
import { addPurgeCommand } from "./clusters/purge.ts";
import { addApplyCommand } from "./commands/apply.ts";
import { addBackupCommand } from "./commands/backup.ts";
import { addCheckCommand } from "./commands/check.ts";
import { addDeleteCommand } from "./commands/delete.ts";
import { addDescribeCommand } from "./commands/describe.ts";
import { addExportCommand } from "./commands/export.ts";
import { addGetCommand } from "./commands/get/get.ts";
import { addImportCommand } from "./commands/import.ts";
import { addProtectCommands } from "./commands/protect.ts";
import { addReserveCommand } from "./commands/reserve.ts";
import { addStatusCommand } from "./commands/status.ts";
import { addTraceCommand } from "./commands/trace.ts";
import type { Context } from "./context.ts";
import { CtlError, EXIT_CODES, type ExitCode } from "./ctl-error.ts";
import type { Io, Sink } from "./io.ts";
import { addRecoveryCommand } from "./recovery/recovery.ts";
import { reportError } from "./report-error.ts";
import { CTL_OPTIONS } from "./settings.ts";
import { toCtlError } from "./to-ctl-error.ts";

/** The longest deadline that the server accepts. */
const MAX_TIMEOUT_MS = 3_600_000;

/** Runs one command line (without the program's name) and returns the exit code. Does not reject. */
export async function runProgram(argv: readonly string[], io: Io): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT_CODES.ok;
  const program = createProgram(io);
  const context: Context = {
    io,
    action:
      work =>
      async (...args) => {
        const settings = readOptions(CTL_OPTIONS, { flags: program.opts(), env: io.env, readFile: io.readFile });
        const timeoutMs = Math.min(settings.timeout, MAX_TIMEOUT_MS);
        await using client = createIpamClient({
          url: settings.server.text,
          timeoutMs,
          // The person sees a failure at once and decides whether to run the command again.
          retries: 0,
          userAgent: "mooringctl",
          mapError: (error, method) => toCtlError(error, method, settings.server.text, timeoutMs),
        });
        exitCode = (await work(client, ...args)) ?? EXIT_CODES.ok;
      },
  };
  addApplyCommand(program, context);
  addGetCommand(program, context);
  addDescribeCommand(program, context);
  addTraceCommand(program, context);
  addReserveCommand(program, context);
  addReleaseCommand(program, context);
  addActivateCommand(program, context);
  addProtectCommands(program, context);
  addDeleteCommand(program, context);
  addConfirmCommand(program, context);
  addPurgeCommand(program, context);
  addRecoveryCommand(program, context);
  addCheckCommand(program, context);
  addStatusCommand(program, context);
  addBackupCommand(program, context);
  addExportCommand(program, context);
  addImportCommand(program, context);
  addMovedCommand(program);
  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    // Commander has printed its message; --help and --version also end here, with exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
    return reportError(error, io);
  }
  return exitCode;
}

/** `restore` works on a stopped server's database, so it belongs to the server's program. */
function addMovedCommand(program: Command): void {
  program
    .command("restore", { hidden: true })
    .allowUnknownOption()
    .allowExcessArguments()
    .helpOption(false)
    .action(() => {
      throw new CtlError("usage", "mooringctl restore is now: mooring-ipam restore", {
        advice: "It has the same options; see mooring-ipam restore --help.",
      });
    });
}

function createProgram(io: Io): Command {
  return addOptions(new Command("mooringctl"), CTL_OPTIONS)
    .description("Manages the networks and ports of a Mooring IPAM.")
    .version(io.version)
    .addHelpText("after", EPILOGUE)
    .exitOverride()
    .showHelpAfterError("Run the same command with --help to see its options and examples.")
    .configureOutput({
      writeOut: text => writeDetached(io.stdout, text),
      writeErr: text => writeDetached(io.stderr, text),
      outputError: (text, write) => write(text.replace(/^error: /, "mooringctl: ")),
      getOutHelpWidth: () => 120,
      getErrHelpWidth: () => 120,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
}

/** Commander does not wait for writes. A failed one cannot be reported, because it went to the terminal. */
function writeDetached(sink: Sink, text: string): void {
  sink.write(text).catch(() => {});
}

const EPILOGUE = `
Examples:
  $ mooringctl apply -f networks.yaml
  $ mooringctl get ports --host node-a
  $ mooringctl trace 10.100.1.7
  $ mooringctl --server https://ipam.example.com status

Exit codes: 0 success, 1 the server refused or check found something, 2 wrong usage, 3 the server cannot be reached.`;
