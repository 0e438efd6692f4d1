import { CommanderError } from "commander";
import { SERVER_OPTIONS } from "./config.ts";
import { untilAborted } from "./process/background-loop.ts";
import { createCommand, runProgram } from "./process/run-program.ts";
import { createRestoreCommand } from "./restore.ts";
import { startServer } from "./server.ts";

const command = createCommand(
  "mooring-ipam",
  "The global IPAM of Mooring: one server for every cluster, VM and machine that needs an address.",
  SERVER_OPTIONS,
)
  .enablePositionalOptions()
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
    process.exitCode = await runProgram({
      name: "mooring-ipam",
      options: SERVER_OPTIONS,
      flags: command.opts(),
      process,
      async run(config, log, signal) {
        await using server = await startServer(config, log);
        log.info({ port: server.port }, `listening on ${server.url}`);
        await untilAborted(signal);
      },
    });
  });

try {
  await command.parseAsync(process.argv);
} catch (error) {
  // Only `restore` throws, after commander has printed its message or its help.
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
