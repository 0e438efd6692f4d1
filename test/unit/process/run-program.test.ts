import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { describe, it } from "node:test";
import type { Logger } from "pino";
import { untilAborted } from "../../../ipam-server/process/background-loop.ts";
import { oneOf, parseDurationMs } from "../../../ipam-server/process/option-parsers.ts";
import { requireOption } from "../../../ipam-server/process/options.ts";
import { createCommand, runProgram } from "../../../ipam-server/process/run-program.ts";

const OPTIONS = {
  delay: { about: "a delay", placeholder: "duration", default: "1s", parse: parseDurationMs },
  logLevel: { about: "the level", placeholder: "level", default: "info", parse: oneOf("info", "warn") },
};

class Harness {
  readonly signals = new EventEmitter();
  readonly messages: unknown[] = [];
  stderr = "";

  run(
    work: (config: { delay: number }, log: Logger, signal: AbortSignal) => Promise<void>,
    flags: Record<string, unknown> = {},
    env: Record<string, string> = {},
  ) {
    return runProgram({
      name: "mooring-test",
      options: OPTIONS,
      flags,
      process: {
        env,
        once: (signal, listener) => this.signals.once(signal, listener),
        stderr: {
          write: text => {
            this.stderr += text;
          },
        },
      },
      destination: { write: line => this.messages.push(JSON.parse(line).msg) },
      run: work,
    });
  }
}

describe("runProgram", () => {
  it("returns 0 after a signal, and logs the shutdown and its end", async () => {
    for (const name of ["SIGTERM", "SIGINT"]) {
      const harness = new Harness();
      const ended = harness.run(async (_config, log, signal) => {
        log.info("ready");
        await untilAborted(signal);
        log.info("cleaned up");
      });
      harness.signals.emit(name);
      assert.equal(await ended, 0);
      assert.deepEqual(harness.messages, ["ready", "shutting down", "cleaned up", "stopped"]);
      assert.equal(harness.signals.listenerCount(name), 0, "a second signal has its default effect");
    }
  });

  it("passes the options from flags and environment", async () => {
    const delays: number[] = [];
    const run = async ({ delay }: { delay: number }) => void delays.push(delay);
    await new Harness().run(run, { delay: "5s" });
    await new Harness().run(run, {}, { MOORING_DELAY: "1m" });
    assert.deepEqual(delays, [5000, 60_000]);
  });

  it("returns 1 and logs the error when the program fails", async () => {
    const harness = new Harness();
    assert.equal(await harness.run(() => Promise.reject(new Error("the port is in use"))), 1);
    assert.deepEqual(harness.messages, ["the port is in use"]);
  });

  it("returns 2 and prints one line for a wrong option", async () => {
    const harness = new Harness();
    assert.equal(await harness.run(() => assert.fail("it ran"), { delay: "soon" }), 2);
    assert.match(harness.stderr, /^mooring-test: --delay: "soon" is not a duration.*\n$/);
    assert.deepEqual(harness.messages, []);
  });

  it("returns 2 when a required option is missing", async () => {
    const harness = new Harness();
    const run = async () => void requireOption(undefined, "nodeName", "give the node's name");
    assert.equal(await harness.run(run), 2);
    assert.equal(harness.stderr, "mooring-test: --node-name: is missing; give the node's name\n");
  });

  it("logs nothing below the level that is set", async () => {
    const harness = new Harness();
    const run = async (_config: unknown, log: Logger) => {
      log.info("detail");
      log.warn("problem");
    };
    assert.equal(await harness.run(run, { logLevel: "warn" }), 0);
    assert.deepEqual(harness.messages, ["problem"]);
  });
});

describe("createCommand", () => {
  it("declares the options of the program and --config", () => {
    const command = createCommand("mooring-test", "A test.", OPTIONS).parse(["node", "x", "--delay", "3s"]);
    assert.equal(command.opts().delay, "3s");
    assert.match(command.helpInformation(), /--log-level <level>[\s\S]*--config <file>/);
  });
});
