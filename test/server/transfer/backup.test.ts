import assert from "node:assert/strict";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import Database from "better-sqlite3";
import type { ClaimResult, Port } from "../../../ipam-server/contract/index.ts";
import { runCtl } from "../../unit/ctl/fake-io.ts";
import { Client, claimOf, networkOf, releaseOf } from "../client.ts";
import { runCtlProcess } from "../ctl-process.ts";
import { ServerProcess } from "../server-process.ts";
import { runRestore } from "./restore-command.ts";
import { assertNewerThanBackup, changeAfterBackup, fillBeforeBackup } from "./restored.ts";

/** Enough for a copy of many steps. */
const PORTS = 6000;
const NOWHERE = "http://127.0.0.1:1";

let directory = "";
/** A good one, of a database with one port bound. */
let backup = "";
before(async () => {
  directory = await mkdtemp(join(tmpdir(), `mooring-backup-${process.pid}-`));
  backup = join(directory, "good.db");
  await using server = await ServerProcess.start({ database: join(directory, "first.db") });
  const client = new Client(server);
  await fillBeforeBackup(client);
  const run = await runCtlProcess(server.url, "backup", backup);
  assert.deepEqual([run.exitCode, run.stderr], [0, ""]);
});
after(() => rm(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);
function change(path: string, sql: string): void {
  const database = new Database(path);
  database.exec(sql);
  database.close();
}
const restore = (file: string, path: string, ...more: string[]) =>
  runRestore([file, "--database", `sqlite:${path}`, ...more]);

describe("backup and restore", () => {
  it("a backup under load is consistent and does not stop claims", async () => {
    const database = at("load.db");
    await using server = await ServerProcess.start({ database });
    const client = new Client(server);
    await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/16"));
    const acknowledged = new Map<string, Port>();
    const keep = (results: readonly ClaimResult[]) => {
      for (const result of results) {
        assert.ok("port" in result, JSON.stringify(result));
        acknowledged.set(result.port.name, result.port);
      }
    };
    for (let from = 0; from < PORTS; from += 1000) {
      keep(await client.claims(...Array.from({ length: 1000 }, (_, i) => claimOf(`early-${from + i}`))));
    }
    const early = new Map(acknowledged);
    let stop = false;
    const load = Array.from({ length: 4 }, async (_, worker) => {
      for (let i = 0; !stop; i++) {
        keep(await client.claims(claimOf(`late-${worker}-${i}`)));
        // Addresses that change hands meanwhile: the books are in the copy's earlier and later pages.
        if (i % 3 === 0) await client.release(releaseOf(claimOf(`early-${worker * 1000 + i}`)));
      }
    });
    const saved = at("load-backup.db");
    const run = await runCtlProcess(server.url, "backup", saved);
    const during = acknowledged.size - early.size;
    stop = true;
    await Promise.all(load);
    assert.deepEqual([run.exitCode, run.stderr], [0, ""]);
    assert.match(run.stdout, /^backup saved in .*: \d+ bytes\n$/);
    assert.ok(during > 0, "claims succeed during the backup");
    assert.equal((await stat(saved)).mode & 0o777, 0o600);
    assert.deepEqual(
      (await readdir(directory)).filter(name => /copy|partial/.test(name)),
      [],
      "nothing is left",
    );

    const restored = at("load-restored.db");
    const { exitCode, stdout, stderr } = await restore(saved, restored);
    assert.deepEqual([exitCode, stderr], [0, ""]);
    assert.match(stdout, /Holds: +1 networks, \d+ ports, \d+ of them bound/);
    await using other = await ServerProcess.start({ database: restored });
    const otherClient = new Client(other);
    assert.deepEqual(await otherClient.findings(), []);
    const ports = new Map((await otherClient.allPorts()).map(port => [port.name, port]));
    for (const name of early.keys()) assert.ok(ports.has(name), name);
    for (const [name, port] of ports) assert.deepEqual(port.fixedIps, acknowledged.get(name)?.fixedIps, name);
  });

  it("after a restore, new epochs, events and keys are above all lost ones", async () => {
    const database = at("epochs.db");
    let lostSeq = 0;
    {
      await copyFile(backup, database);
      await using server = await ServerProcess.start({ database });
      lostSeq = await changeAfterBackup(server);
      await server.stop();
    }
    const run = await restore(backup, database, "--force");
    assert.deepEqual([run.exitCode, run.stderr], [0, ""]);
    assert.match(run.stdout, /New epochs: +from 1000002 on\nNew events: +from 100000000\d+ on/);
    await using server = await ServerProcess.start({ database });
    await assertNewerThanBackup(server, lostSeq);
  });

  it("restore --force keeps the old file, and refuses one in use", async () => {
    const database = at("replace.db");
    {
      await using server = await ServerProcess.start({ database });
      await new Client(server).send("PUT", "/v1/networks/other", networkOf("other", "10.7.0.0/24"));
      const running = await restore(backup, database, "--force");
      assert.equal(running.exitCode, 1);
      assert.match(running.stderr, /a server has .*replace\.db open; stop it first/);
      assert.equal((await new Client(server).get("/v1/networks/other")).status, 200);
      // Its write-ahead log remains.
      await server.stop("SIGKILL");
    }
    assert.equal((await restore(backup, database)).exitCode, 1);
    const run = await restore(backup, database, "--force");
    assert.deepEqual([run.exitCode, run.stderr], [0, ""]);
    const [, kept = ""] = /Replaced: +kept as (.*)\n/.exec(run.stdout) ?? [];
    for (const [path, name] of [
      [database, "prod-a"],
      [kept, "other"],
    ] as const) {
      await using server = await ServerProcess.start({ database: path });
      assert.equal((await new Client(server).get(`/v1/networks/${name}`)).status, 200, path);
    }
  });

  describe("a refused restore names the cause and changes nothing", () => {
    async function assertRefused(file: string, path: string, pattern: RegExp, ...more: string[]): Promise<void> {
      const earlier = await readdir(directory);
      const { exitCode, stdout, stderr } = await restore(file, path, ...more);
      assert.deepEqual([exitCode, stdout], [1, ""], stderr);
      assert.match(stderr, pattern);
      assert.deepEqual(await readdir(directory), earlier);
    }

    it("a missing file, a directory, and a file that is no database", async () => {
      await assertRefused(at("none.db"), at("x.db"), /none\.db is not there/);
      await assertRefused(directory, at("x.db"), /is not a file/);
      await writeFile(at("notes.txt"), "notes\n".repeat(100));
      await assertRefused(at("notes.txt"), at("x.db"), /notes\.txt is no backup of Mooring/);
      await writeFile(at("empty.db"), "");
      await assertRefused(at("empty.db"), at("x.db"), /empty\.db is no backup of Mooring/);
    });

    it("another program's database", async () => {
      change(at("recipes.db"), "CREATE TABLE recipes (name TEXT)");
      await assertRefused(at("recipes.db"), at("x.db"), /the backup .*recipes\.db belongs to another program/);
    });

    it("a backup of a newer version", async () => {
      await copyFile(backup, at("newer.db"));
      change(at("newer.db"), "INSERT INTO schema_migrations VALUES (999, 'of the future', 0)");
      await assertRefused(at("newer.db"), at("x.db"), /the backup .*newer\.db has schema version 999, newer than/);
    });

    it("a damaged backup, and one that is cut off", async () => {
      const bytes = await readFile(backup);
      bytes.fill(0x5a, 4096 * 3, 4096 * 6);
      await writeFile(at("damaged.db"), bytes);
      await assertRefused(at("damaged.db"), at("x.db"), /the backup .*damaged\.db is damaged/);
      await copyFile(backup, at("short.db"));
      await truncate(at("short.db"), 4096 * 5);
      await assertRefused(at("short.db"), at("x.db"), /the backup .*short\.db is damaged/);
    });

    it("an inconsistent backup", async () => {
      await copyFile(backup, at("books.db"));
      change(at("books.db"), "UPDATE subnets SET held = held + 1");
      await assertRefused(at("books.db"), at("x.db"), /books\.db is damaged: held counter/);
    });

    it("an existing, foreign or invalid target", async () => {
      await copyFile(backup, at("there.db"));
      await assertRefused(backup, at("there.db"), /there\.db is there already; stop its server and add --force/);
      change(at("theirs.db"), "CREATE TABLE recipes (name TEXT)");
      await assertRefused(backup, at("theirs.db"), /theirs\.db belongs to another program/, "--force");
      await mkdir(at("folder"), { recursive: true });
      await assertRefused(backup, at("folder"), /folder is not a file/);
      await assertRefused(backup, at("nowhere/x.db"), /no directory .*nowhere; make it first/);
      await assertRefused(backup, backup, /is the database itself/, "--force");
      await writeFile(at("lone.db-wal"), "left over");
      await assertRefused(backup, at("lone.db"), /lone\.db-wal is there already/);
    });

    it("into PostgreSQL, which has its own tools", async () => {
      const run = await runRestore([backup, "--database", "postgres://h/d"]);
      assert.equal(run.exitCode, 1);
      assert.match(run.stderr, /pg_restore/);
      assert.equal((await runRestore([backup, "--database", "oracle"])).exitCode, 2);
    });
  });

  it("backup overwrites only with --force, and never partially", async () => {
    await writeFile(at("mine.db"), "mine");
    await using server = await ServerProcess.start({ database: at("again.db") });
    const refused = await runCtl(["backup", at("mine.db")], { server: server.url });
    assert.equal(refused.exitCode, 2);
    assert.match(refused.stderr, /mine\.db exists already; name another file, or add --force/);
    assert.match(
      (await runCtl(["backup", at("no/x.db")], { server: server.url })).stderr,
      /directory .* does not exist/,
    );
    assert.equal((await runCtl(["backup", "--force", at("mine.db")], { server: NOWHERE })).exitCode, 3);
    assert.equal(await readFile(at("mine.db"), "utf8"), "mine");
    assert.equal((await runCtl(["backup", "--force", at("mine.db")], { server: server.url })).exitCode, 0);
    assert.match(await readFile(at("mine.db"), "latin1"), /^SQLite format 3/);
  });
});
