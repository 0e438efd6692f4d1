import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { runCtl } from "./fake-io.ts";
import { errorReply, FakeServer } from "./fake-server.ts";
import { network } from "./fixtures.ts";

const COMMANDS = [
  [],
  ["apply"],
  ["get"],
  ["get", "networks"],
  ["get", "subnets"],
  ["get", "ports"],
  ["describe"],
  ["describe", "port"],
  ["describe", "network"],
  ["trace"],
  ["reserve"],
  ["release"],
  ["delete"],
  ["delete", "port"],
  ["delete", "network"],
  ["check"],
  ["status"],
];

describe("mooringctl", () => {
  for (const command of COMMANDS) {
    it(`${["mooringctl", ...command].join(" ")} --help explains itself with an example and succeeds`, async () => {
      const run = await runCtl([...command, "--help"]);
      assert.equal(run.exitCode, 0);
      assert.equal(run.stderr, "");
      assert.match(run.stdout, /Examples?:\n {2}\$ mooringctl /);
    });
  }

  it("--help names flag, environment variable and configuration key of each setting", async () => {
    const { stdout } = await runCtl(["--help"]);
    for (const word of ["--server", "MOORING_SERVER", "key server", "--timeout", "MOORING_TIMEOUT", "MOORING_CONFIG"]) {
      assert.ok(stdout.includes(word), word);
    }
  });

  it("--version prints the version", async () => {
    assert.deepEqual(await runCtl(["--version"]), { exitCode: 0, stdout: "1.2.3\n", stderr: "" });
  });

  for (const [args, message] of [
    [["aply"], /unknown command 'aply'\n\(Did you mean apply\?\)/],
    [["get", "prots"], /Did you mean/],
    [["get", "ports", "--hots", "a"], /unknown option '--hots'\n\(Did you mean --host\?\)/],
    [["get", "ports", "-o", "xml"], /Allowed choices are json, yaml, wide/],
    [["apply"], /required option '-f, --filename/],
    [["trace"], /missing required argument 'name\|ip\|mac'/],
    [["status", "x"], /too many arguments/],
    [["reserve", "a"], /--network-selector/],
    [["reserve", "a", "--network-selector", "", "--label", "x"], /Expected key=value/],
  ] as const) {
    it(`rejects "${args.join(" ")}" with advice and exits with 2`, async () => {
      const run = await runCtl(args);
      assert.equal(run.exitCode, 2);
      assert.match(run.stderr, /^mooringctl: /);
      assert.match(run.stderr, message);
      assert.match(run.stderr, /--help/);
      assert.equal(run.stdout, "");
    });
  }

  it("restore names mooring-ipam restore and exits with 2", async () => {
    const run = await runCtl(["restore", "a.db", "--database", "sqlite:b.db", "--force"]);
    assert.deepEqual([run.exitCode, run.stdout], [2, ""]);
    assert.match(run.stderr, /^mooringctl: mooringctl restore is now: mooring-ipam restore\n/);
  });

  it("reads the server from flag, then environment, then configuration file", async () => {
    await using right = new FakeServer(() => ({ body: { networks: [] } }));
    const server = await right.listen();
    const wrong = "http://127.0.0.1:1";
    const files = { "right.yaml": `server: ${server}\n`, "wrong.yaml": `server: ${wrong}\ntimeout: 5s\n` };
    const reaches = async (args: string[], env: Record<string, string>) =>
      (await runCtl(["get", "networks", ...args], { files, env })).exitCode === 0;
    assert.ok(await reaches(["--server", server], { MOORING_SERVER: wrong }));
    assert.ok(await reaches(["--config", "wrong.yaml"], { MOORING_SERVER: server }));
    assert.ok(await reaches(["--config", "right.yaml"], {}));
    assert.ok(await reaches([], { MOORING_CONFIG: "right.yaml" }));
    assert.ok(!(await reaches(["--server", wrong], { MOORING_SERVER: server })));
  });

  for (const [what, args, files, message] of [
    ["a server that is no URL", ["--server", "node-a:7070"], {}, /--server: "node-a:7070" is not http:\/\/HOST:PORT/],
    ["a timeout without a unit", ["--timeout", "10"], {}, /--timeout: "10" is not a duration/],
    ["no time at all", ["--timeout", "0s"], {}, /--timeout: "0s" leaves no time/],
    ["an unknown key", ["--config", "c"], { c: "sever: http://x\n" }, /unknown key "sever"; did you mean "server"/],
    ["a configuration that is not there", ["--config", "c"], {}, /--config c: ENOENT/],
  ] as const) {
    it(`rejects ${what} as wrong usage`, async () => {
      const run = await runCtl([...args, "status"], { files });
      assert.equal(run.exitCode, 2);
      assert.match(run.stderr, message);
    });
  }

  it("an unreachable server exits with 3 and says what to check", async () => {
    const unused = createServer().listen(0, "127.0.0.1");
    await new Promise(resolve => unused.once("listening", resolve));
    const address = unused.address();
    assert.ok(typeof address === "object" && address !== null);
    await new Promise(resolve => unused.close(resolve));
    const run = await runCtl(["status"], { server: `http://127.0.0.1:${address.port}` });
    assert.equal(run.exitCode, 3);
    assert.match(run.stderr, /^mooringctl: cannot reach the IPAM at http:.*ECONNREFUSED.*\n {2}Check that it runs/);
    const socket = await runCtl(["status"], { server: "unix:/nonexistent/ipam.sock" });
    assert.equal(socket.exitCode, 3);
    assert.match(socket.stderr, /cannot reach the IPAM at unix:\/nonexistent\/ipam\.sock: .*ENOENT/);
  });

  it("a call to a server that does not answer fails at the deadline", { timeout: 30_000 }, async () => {
    await using silent = new FakeServer(() => undefined);
    const server = await silent.listen();
    const read = await runCtl(["status", "--timeout", "50ms"], { server });
    assert.equal(read.exitCode, 3);
    assert.match(read.stderr, /gave no answer within 50 ms\n/);
    const change = await runCtl(["delete", "port", "x", "--timeout", "50ms"], { server });
    assert.equal(change.exitCode, 3);
    assert.match(change.stderr, /may have been made: the same command can safely be run again/);
  });

  it("distinguishes an answer that is not Mooring's from an error of the IPAM", async () => {
    await using proxy = new FakeServer(() => ({ status: 502, raw: "<html>Bad gateway</html>" }));
    const failed = await runCtl(["get", "ports"], { server: await proxy.listen() });
    assert.equal(failed.exitCode, 3);
    assert.match(failed.stderr, /answered HTTP 502, but not as a Mooring IPAM does/);
    await using other = new FakeServer(() => ({ body: { hello: "world" } }));
    const strange = await runCtl(["get", "ports"], { server: await other.listen() });
    assert.equal(strange.exitCode, 3);
    assert.match(strange.stderr, /has no "ports"/);
  });

  it("a unix socket and a base path work as the server", async () => {
    const directory = await mkdtemp(join(tmpdir(), `ctl-${process.pid}-`));
    try {
      await using local = new FakeServer(() => ({ body: { networks: [network] } }));
      const server = await local.listen(join(directory, "s"));
      assert.equal((await runCtl(["get", "networks"], { server })).exitCode, 0);
    } finally {
      await rm(directory, { recursive: true });
    }
    await using remote = new FakeServer(() => ({ body: { networks: [network] } }));
    const server = `${await remote.listen()}/mooring/`;
    assert.equal((await runCtl(["get", "networks"], { server })).exitCode, 0);
    assert.equal(remote.requests[0]?.url, "/mooring/v1/networks");
  });

  it("an error shows message, field and advice, and no stack trace", async () => {
    await using server = new FakeServer(() =>
      errorReply("no_matching_network", "no network matches env=prdo", {
        field: "networkSelector",
        retryAfterSeconds: 3,
      }),
    );
    const run = await runCtl(["reserve", "x", "--network-selector", "env=prdo"], { server: await server.listen() });
    assert.deepEqual(run, {
      exitCode: 1,
      stdout: "",
      stderr: [
        "mooringctl: no network matches env=prdo",
        "  field: networkSelector",
        "  Retry after 3 s.",
        "  See the networks and their labels: mooringctl get networks -o wide.",
        "",
      ].join("\n"),
    });
  });
});
