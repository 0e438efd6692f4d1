import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { MIGRATIONS } from "../../../ipam-server/storage/postgres/database/migrations.ts";
import { Client } from "../../server/client.ts";
import { ServerProcess } from "../../server/server-process.ts";
import { runRestore } from "../../server/transfer/restore-command.ts";
import { assertNewerThanBackup, changeAfterBackup, fillBeforeBackup } from "../../server/transfer/restored.ts";
import { findPostgres, PrivatePostgres } from "../support/private-postgres.ts";

const run = promisify(execFile);
const DEADLINE_MS = 60_000;

let postgres: PrivatePostgres;
let directory = "";
before(async () => {
  directory = await mkdtemp(join(tmpdir(), `mooring-pg-restore-${process.pid}-`));
  postgres = await PrivatePostgres.start();
});
after(async () => {
  await postgres?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const tool = (name: string, ...args: string[]) => run(join(findPostgres() ?? "", name), args, { timeout: DEADLINE_MS });
const finish = (url: string, ...more: string[]) => runRestore(["--database", url, ...more]);

/** The URL of a database with one port bound, and a dump of it. */
async function makeDump(name: string): Promise<{ url: string; dump: string }> {
  const url = await postgres.createDatabase();
  const dump = join(directory, name);
  await using server = await ServerProcess.start({ database: url });
  const client = new Client(server);
  await fillBeforeBackup(client);
  // While it runs.
  await tool("pg_dump", "--format=custom", `--file=${dump}`, url);
  return { url, dump };
}

describe("mooring-ipam restore on PostgreSQL", () => {
  it("raises its counters above everything assigned since the dump", async () => {
    const { url, dump } = await makeDump("good.dump");
    let lostSeq = 0;
    {
      await using server = await ServerProcess.start({ database: url });
      lostSeq = await changeAfterBackup(server);
      const running = await finish(url);
      assert.equal(running.exitCode, 1);
      assert.match(running.stderr, /servers have .* open \(connections: \d+\); stop them first/);
      await server.stop();
    }
    await tool(
      "pg_restore",
      "--clean",
      "--if-exists",
      "--exit-on-error",
      "--single-transaction",
      `--dbname=${url}`,
      dump,
    );
    const { exitCode, stdout, stderr } = await finish(url);
    assert.deepEqual([exitCode, stderr], [0, ""]);
    assert.match(
      stdout,
      /^Restored: +mooring_\d+ on 127\.0\.0\.1:\d+\nNewest change: +2\d{3}-.*\nHolds: +1 networks, 1 ports, 1 of them bound/,
    );
    assert.match(stdout, /New epochs: +from 1000002 on\nNew events: +from 100000000\d+ on/);
    assert.ok(!stdout.includes(postgres.password));
    {
      await using server = await ServerProcess.start({ database: url });
      await assertNewerThanBackup(server, lostSeq);
    }
    const keys = await postgres.query("SELECT FROM ports WHERE name = 'c1/default/new' AND key > 1000000", url);
    assert.equal(keys.length, 1, "the sequence of keys, from which MACs are made, is raised too");
    assert.equal((await postgres.query("SELECT FROM leadership WHERE term > 1000000", url)).length, 1, "terms are too");
  });

  it("rejects another program's, a damaged or a newer database unchanged", async () => {
    const empty = await postgres.createDatabase();
    const assertRefused = async (url: string, pattern: RegExp, ...more: string[]) => {
      const state = () => postgres.query("SELECT epoch_floor, revision FROM catalog_state", url).catch(() => "none");
      const earlier = await state();
      const { exitCode, stdout, stderr } = await finish(url, ...more);
      assert.deepEqual([exitCode === 0, stdout], [false, ""]);
      assert.match(stderr, pattern);
      assert.ok(!stderr.includes(postgres.password), stderr);
      assert.deepEqual(await state(), earlier);
    };
    await assertRefused(empty, /holds nothing of Mooring; pg_restore into it first/);
    await postgres.query("CREATE TABLE schema_migrations (version text)", empty);
    await assertRefused(empty, /belongs to another program/);
    const { url, dump } = await makeDump("refused.dump");
    await assertRefused(
      url,
      /restored by its own tools \(pg_restore.*then run mooring-ipam restore without a file/,
      dump,
    );
    await assertRefused(url, /--force is for files/, "--force");
    await postgres.query("UPDATE subnets SET held = held + 1", url);
    await assertRefused(url, /mooring_\d+ on .* is damaged: held counter/);
    const newest = Math.max(...MIGRATIONS.map(({ version }) => version));
    await postgres.query(`INSERT INTO schema_migrations VALUES (${newest + 1}, 'a cut', ${newest + 1}, 0)`, url);
    await assertRefused(url, new RegExp(`schema version ${newest + 1}, which needs a program`));
    await assertRefused(postgres.urlOf("not_there"), /not_there on .* is not there/);
    await assertRefused("postgres://h", /--database names no database/);
  });

  it("reads the database URL from the environment", async () => {
    const { url } = await makeDump("environment.dump");
    const run = await runRestore([], { MOORING_DATABASE: url });
    assert.deepEqual([run.exitCode, run.stderr], [0, ""]);
    const none = await runRestore([]);
    assert.equal(none.exitCode, 2);
    assert.match(none.stderr, /--database/);
  });
});
