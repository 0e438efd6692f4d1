import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Command } from "commander";
import { findConfigFault, SERVER_OPTIONS } from "../../../ipam-server/config.ts";
import { parseDurationMs, parseListenAddress } from "../../../ipam-server/process/option-parsers.ts";
import { addOptions, envOf, flagOf, OptionError, readOptions } from "../../../ipam-server/process/options.ts";

interface Sources {
  flags?: Record<string, unknown>;
  env?: Record<string, string>;
  file?: string;
}

function read({ flags = {}, env = {}, file }: Sources = {}) {
  const readFile = () => file ?? assert.fail("no file was given");
  return readOptions(SERVER_OPTIONS, {
    flags: file === undefined ? flags : { ...flags, config: "c.yaml" },
    env,
    readFile,
  });
}
const assertRejects = (sources: Sources, message: RegExp) =>
  assert.throws(
    () => read(sources),
    (error: unknown) => error instanceof OptionError && message.test(error.message),
  );

describe("options", () => {
  it("prefers flag over environment over file over default", () => {
    const flags = { reuseDelay: "1s" };
    const env = { MOORING_REUSE_DELAY: "2s", MOORING_MAX_QUEUE: "20" };
    const file = "reuseDelay: 3s\nmaxQueue: 30\nlogLevel: debug";
    const config = read({ flags, env, file });
    assert.deepEqual([config.reuseDelay, config.maxQueue, config.logLevel], [1000, 20, "debug"]);
    assert.equal(config.requestTimeout, 30_000);
  });

  it("reads the file that MOORING_CONFIG names", () => {
    const readFile = (path: string) => (path === "e.yaml" ? "logLevel: warn" : "");
    const config = readOptions(SERVER_OPTIONS, { flags: {}, env: { MOORING_CONFIG: "e.yaml" }, readFile });
    assert.equal(config.logLevel, "warn");
  });

  it("names an unknown key and the nearest known one", () => {
    assertRejects({ file: "reuseDealy: 60s" }, /c\.yaml: unknown key "reuseDealy"; did you mean "reuseDelay"\?/);
  });

  it("names the source of a bad value and what is accepted", () => {
    assertRejects({ flags: { reuseDelay: "60" } }, /--reuse-delay: "60" is not a duration such as 60s/);
    assertRejects({ env: { MOORING_LOG_LEVEL: "loud" } }, /MOORING_LOG_LEVEL: "loud" is not one of fatal, error/);
    assertRejects({ file: "maxQueue: 0" }, /c\.yaml: maxQueue: "0" is not a whole number of 1 to 1000000/);
    assertRejects({ file: "- a" }, /is not a YAML mapping/);
    assertRejects({ file: "listen: [a]" }, /listen: takes one value/);
    assertRejects({ flags: { listen: "7070" } }, /--listen: "7070" is not HOST:PORT/);
  });

  it("rejects an unknown database URL without showing its password", () => {
    assertRejects(
      { flags: { database: "postgres://me:secret@db:0/mooring" } },
      /"postgres:\/\/me:\*\*\*@db:0\/mooring" names a port/,
    );
    assertRejects({ flags: { database: "ipam.db" } }, /write sqlite:PATH/);
  });

  it("parses durations and listen addresses", () => {
    assert.deepEqual(
      ["500ms", "60s", "5m", "24h", "30d", "0s"].map(parseDurationMs),
      [500, 6e4, 3e5, 864e5, 2592e6, 0],
    );
    assert.deepEqual(parseListenAddress("[::1]:70"), { type: "tcp", host: "::1", port: 70 });
    assert.deepEqual(parseListenAddress("unix:/run/m.sock"), { type: "unix", path: "/run/m.sock" });
    for (const bad of ["::1:70", "a:99999", "unix:", "a:", ":7070"]) assert.throws(() => parseListenAddress(bad), bad);
  });

  it("requires --insecure to listen on other addresses than loopback", () => {
    for (const listen of ["127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "localhost:1", "unix:/x"]) {
      assert.equal(findConfigFault(read({ flags: { listen } })), undefined, listen);
    }
    for (const listen of ["0.0.0.0:7070", "[::]:7070", "10.0.0.1:7070", "ipam.example:7070", "127.0.0.1.example:1"]) {
      assert.match(findConfigFault(read({ flags: { listen } })) ?? "", /add --insecure/, listen);
      assert.equal(findConfigFault(read({ flags: { listen, insecure: true } })), undefined, listen);
    }
  });

  it("shows flag, environment variable and key of every option in --help", () => {
    const help = addOptions(new Command("x"), SERVER_OPTIONS).configureHelp({ helpWidth: 1000 }).helpInformation();
    for (const key of Object.keys(SERVER_OPTIONS)) {
      for (const name of [flagOf(key), `env ${envOf(key)}`, `key ${key}`]) assert.ok(help.includes(name), name);
    }
  });
});
