import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Client, claimOf, networkOf } from "../../server/client.ts";
import { runCtlProcess } from "../../server/ctl-process.ts";
import { ServerProcess, useDatabases } from "../../server/server-process.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

/** The servers' tests of moving, every server of theirs on a PostgreSQL database, and between the engines. */
const postgres = await PrivatePostgres.start();
after(() => postgres[Symbol.asyncDispose]());
useDatabases(() => postgres.createDatabase());

await import("../../server/transfer/transfer.test.ts");

describe("mooringctl transfer on PostgreSQL", () => {
  it("exports the same lines after a move from SQLite and back", async () => {
    const directory = await mkdtemp(join(tmpdir(), `mooring-moving-${process.pid}-`));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const at = (name: string) => join(directory, name);
    const start = async (database: string) => stack.use(await ServerProcess.start({ database }));
    const run = async (server: ServerProcess, ...args: string[]) => {
      const { exitCode, stdout, stderr } = await runCtlProcess(server.url, ...args);
      assert.deepEqual([exitCode, stderr], [0, ""]);
      return /digest (sha256:[0-9a-f]{64})\n$/.exec(stdout)?.[1];
    };
    const old = await start(at("old.db"));
    const client = new Client(old);
    await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/16"));
    for (let from = 0; from < 4000; from += 1000) {
      await client.claims(...Array.from({ length: 1000 }, (_, i) => claimOf(`pod-${from + i}`)));
    }
    const digest = await run(old, "export", at("old.jsonl"));
    assert.ok(digest);
    const between = await start(await postgres.createDatabase());
    assert.equal(await run(between, "import", at("old.jsonl")), digest);
    assert.equal(await run(between, "export", at("between.jsonl")), digest);
    const back = await start(at("back.db"));
    assert.equal(await run(back, "import", at("between.jsonl")), digest);
    assert.equal(await run(back, "export", at("back.jsonl")), digest);
    const linesOf = async (name: string) => (await readFile(at(name), "utf8")).split("\n").slice(1);
    const lines = await linesOf("old.jsonl");
    for (const name of ["between.jsonl", "back.jsonl"]) assert.deepEqual(await linesOf(name), lines);
    const next = await Promise.all([old, between, back].map(server => new Client(server).claim(claimOf("next"))));
    const [first, ...others] = next.map(({ port }) => [port.fixedIps, port.mac, port.epoch]);
    for (const other of others) assert.deepEqual(other, first);
  });

  it("names pg_dump when mooringctl backup is run on PostgreSQL", async () => {
    await using server = await ServerProcess.start({ database: await postgres.createDatabase() });
    const { exitCode, stdout, stderr } = await runCtlProcess(server.url, "backup", join(tmpdir(), "never-made.db"));
    assert.deepEqual([exitCode, stdout], [1, ""]);
    assert.match(stderr, /stores its data in PostgreSQL.*pg_dump --format=custom.*pg_basebackup.*mooringctl export/);
  });
});
