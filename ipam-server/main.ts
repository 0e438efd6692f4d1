import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import pino from "pino";
import { SERVER_OPTIONS } from "./config.ts";
import { addOptions, OptionError, readOptions } from "./process/options.ts";
import { createRestoreCommand } from "./restore.ts";
import { startServer } from "./server.ts";

const command = new Command("mooring-ipam")
  .description("The global IPAM of Mooring: one server for every cluster, VM and machine that needs an address.")
  .enablePositionalOptions()
  .allowExcessArguments(false)
  .showHelpAfterError("(--help lists the options)")
  .addCommand(
    createRestoreCommand({
      env: process.env,
      writeOut: text => process.stdout.write(text),
      writeErr: text => process.stderr.write(text),
      now: Date.now,
      setExitCode: code => {
        process.exitCode = code;
      },
    }),
  )
  .action(async () => {
    process.exitCode = await run();
  });

try {
  await addOptions(command, SERVER_OPTIONS).parseAsync(process.argv);
} catch (error) {
  // Only `restore` throws: commander has printed its message, or its help.
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}

async function run(): Promise<number> {
  const log = pino({ name: "mooring-ipam" }, pino.destination({ fd: 2, sync: true }));
  try {
    const readFile = (path: string) => readFileSync(path, "utf8");
    const config = readOptions(SERVER_OPTIONS, { flags: command.opts(), env: process.env, readFile });
    log.level = config.logLevel;

    // A second signal meets no handler and ends the process at once.
    const stop = Promise.withResolvers<NodeJS.Signals>();
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, stop.resolve);

    await using server = await startServer(config, log);
    log.info({ port: server.port }, `listening on ${server.url}`);
    const signal = await stop.promise;
    log.info(`${signal}: stopping`);
  } catch (error) {
    if (error instanceof OptionError) process.stderr.write(`mooring-ipam: ${error.message}\n`);
    else log.fatal({ err: error }, error instanceof Error ? error.message : String(error));
    return error instanceof OptionError ? 2 : 1;
  }
  log.info("stopped");
  return 0;
}
