import { readFileSync } from "node:fs";
import type { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import packageJson from "../../package.json" with { type: "json" };
import type { Sink } from "./io.ts";
import { runProgram } from "./program.ts";

function createSink(stream: Writable): Sink {
  // Each write reports its own failure; without a listener Node ends the process on an error event.
  stream.on("error", () => {});
  return {
    write: text =>
      new Promise((resolve, reject) => {
        stream.write(text, error => (error ? reject(error) : resolve()));
      }),
  };
}

process.exitCode = await runProgram(process.argv.slice(2), {
  stdout: createSink(process.stdout),
  stderr: createSink(process.stderr),
  env: process.env,
  readFile: path => readFileSync(path, "utf8"),
  readStdin: () => text(process.stdin),
  clock: () => new Date(),
  version: packageJson.version,
});
