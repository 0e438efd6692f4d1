import { readFileSync } from "node:fs";
import { Command } from "commander";
import pino from "pino";
import { SERVER_OPTIONS } from "./config.ts";
import { addOptions, OptionError, readOptions } from "./process/options.ts";
import { startServer } from "./server.ts";

const command = new Command("mooring-ipam")
  .description("The global IPAM of Mooring: one server for every cluster, VM and machine that needs an address.")
  .allowExcessArguments(false)
  .showHelpAfterError("(--help lists the options)");
addOptions(command, SERVER_OPTIONS).parse(process.argv);

process.exitCode = await run();

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
