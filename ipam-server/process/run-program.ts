import { readFileSync } from "node:fs";
import { Command } from "commander";
import pino, { type Logger } from "pino";
import {
  addOptions,
  OptionError,
  type OptionSpec,
  type OptionSpecs,
  type OptionValues,
  readOptions,
} from "./options.ts";

/** What a program uses of its process. Passed in, because only `main.ts` touches the global. */
interface ProcessParts {
  env: Record<string, string | undefined>;
  once(signal: NodeJS.Signals, listener: () => void): unknown;
  stderr: { write(text: string): unknown };
}

interface Program<S extends OptionSpecs> {
  name: string;
  options: S;
  /** `command.opts()` after parsing. */
  flags: Record<string, unknown>;
  process: ProcessParts;
  /** Where the log goes, as pino takes it. Default: standard error. */
  destination?: { write(line: string): void };
  /** Runs until the signal aborts, and cleans up before it resolves. */
  run(config: OptionValues<S>, log: Logger, signal: AbortSignal): Promise<void>;
}

/** The command line of a server program. Add its options, then parse. */
export function createCommand(name: string, description: string, options: OptionSpecs): Command {
  const command = new Command(name)
    .description(description)
    .allowExcessArguments(false)
    .showHelpAfterError("(--help lists the options)");
  return addOptions(command, options);
}

/**
 * Reads the options, logs JSON lines, and aborts the program's signal on SIGTERM or SIGINT; a second signal ends the process at
 * once. Never rejects. Returns the exit code: 0 after a shutdown, 1 after a failure, 2 for wrong options.
 */
export async function runProgram<S extends OptionSpecs & { logLevel: OptionSpec }>(
  program: Program<S>,
): Promise<0 | 1 | 2> {
  const { name, options, flags, process: parts } = program;
  const log = pino({ name }, program.destination ?? pino.destination({ fd: 2, sync: true }));
  try {
    const config = readOptions(options, { flags, env: parts.env, readFile: path => readFileSync(path, "utf8") });
    log.level = String(config.logLevel);
    const stop = new AbortController();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      // Once: with the listener gone, a second signal has its default effect.
      parts.once(signal, () => {
        log.info({ signal }, "shutting down");
        stop.abort();
      });
    }
    await program.run(config, log, stop.signal);
  } catch (error) {
    if (error instanceof OptionError) {
      parts.stderr.write(`${name}: ${error.message}\n`);
      return 2;
    }
    log.fatal({ err: error }, error instanceof Error ? error.message : String(error));
    return 1;
  }
  log.info("stopped");
  return 0;
}
