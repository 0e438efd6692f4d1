import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Client, claimOf, networkOf } from "../client.ts";
import { runServer, ServerProcess } from "../server-process.ts";

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "mooring-lifecycle-"));
});
after(() => rm(directory, { recursive: true, force: true }));

const database = (name: string) => `sqlite:${join(directory, name)}`;

describe("mooring-ipam process", () => {
  it("--help shows every option with its flag, variable and key", async () => {
    const { code, output } = await runServer(["--help"]);
    assert.equal(code, 0);
    for (const name of ["--reuse-delay", "MOORING_REUSE_DELAY", "reuseDelay"]) assert.ok(output.includes(name), name);
  });

  /** Arguments, and what the message must say. */
  const REFUSED: [string[], RegExp][] = [
    [["--listen", "0.0.0.0:0"], /no identities are configured.*--insecure/],
    [["--listen", "nonsense"], /"nonsense" is not HOST:PORT/],
    [["--database", "postgres://db"], /names no database/],
    [["--reuse-delay", "soon"], /--reuse-delay: "soon" is not a duration/],
    [["--config", "/nonexistent.yaml"], /--config \/nonexistent\.yaml: .*ENOENT/],
  ];
  for (const [args, message] of REFUSED) {
    it(`${args.join(" ")} is refused with what is right, before anything is opened`, async () => {
      const { code, output } = await runServer(["--database", database("never.db"), ...args]);
      assert.equal(code, 2, output);
      assert.match(output, message);
    });
  }

  it("an unknown flag and a stray word are refused", async () => {
    for (const args of [["--reuse-dealy", "1s"], ["serve"]]) {
      const { code, output } = await runServer(args);
      assert.notEqual(code, 0);
      assert.match(output, /error: /);
    }
  });

  it("an unknown key of the file is named with the nearest one", async () => {
    const path = join(directory, "config.yaml");
    await writeFile(path, "databse: sqlite:x\n");
    const { code, output } = await runServer(["--config", path]);
    assert.equal(code, 2);
    assert.match(output, /unknown key "databse"; did you mean "database"\?/);
  });

  it("a second server on the same database is refused", async () => {
    await using first = await ServerProcess.start();
    const { code, output } = await runServer(["--listen", "127.0.0.1:0", "--database", `sqlite:${first.database}`]);
    assert.equal(code, 1, output);
    assert.match(output, /another/);
    assert.equal((await new Client(first).get("/readyz")).status, 200);
  });

  it("an invalid database ends the start with its name", async () => {
    await writeFile(
      join(directory, "text.db"),
      "this is not a database, but long enough to be taken for one\n".repeat(20),
    );
    await mkdir(join(directory, "directory.db"));
    for (const name of ["text.db", "directory.db", "missing/ipam.db"]) {
      const { code, output } = await runServer(["--listen", "127.0.0.1:0", "--database", database(name)]);
      assert.equal(code, 1, output);
      assert.ok(output.includes(name), output);
    }
  });

  it("an address in use ends the start with a message", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const { code, output } = await runServer(["--listen", `127.0.0.1:${port}`, "--database", database("taken.db")]);
    taken.close();
    assert.equal(code, 1);
    assert.match(output, /EADDRINUSE/);
  });

  it("a unix socket is created, replaced only if dead, and removed at stop", async () => {
    const path = join(directory, "ipam.sock");
    const get = async () => {
      const call = request({ socketPath: path, path: "/healthz" }).end();
      const [response] = await once(call, "response");
      return response.statusCode;
    };
    for (let round = 0; round < 2; round++) {
      const args = ["--listen", `unix:${path}`];
      await using server = await ServerProcess.start({ database: join(directory, "unix.db"), args, unix: true });
      assert.equal(await get(), 200);
      const second = await runServer(["--listen", `unix:${path}`, "--database", database("unix-2.db")]);
      assert.equal(second.code, 1);
      assert.match(second.output, /another server answers there/);
      await server.stop(round === 0 ? "SIGKILL" : "SIGTERM");
    }
    await assert.rejects(get(), /ENOENT/);
  });

  it("data is kept over a restart", async () => {
    const path = join(directory, "restart.db");
    const claim = claimOf("restart-0");
    const ask = async () => {
      await using server = await ServerProcess.start({ database: path });
      const client = new Client(server);
      await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/24"));
      const { port } = await client.claim(claim);
      assert.equal(await server.stop(), 0);
      return port;
    };
    assert.deepEqual(await ask(), await ask());
  });

  it("a read-only database is unavailable, with the reason", async t => {
    if (process.getuid?.() === 0) return t.skip("root writes read-only files");
    const path = join(directory, "readonly.db");
    await using first = await ServerProcess.start({ database: path });
    await first.stop();
    await chmod(path, 0o444);
    const { code, output } = await runServer(["--listen", "127.0.0.1:0", "--database", `sqlite:${path}`]);
    assert.equal(code, 1);
    assert.match(output, /readonly\.db/);
    return undefined;
  });
});
