import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { IpamError } from "../../../ipam-server/contract/index.ts";
import { MIGRATIONS } from "../../../ipam-server/storage/sqlite/database/migrations.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { assertHealthy, attach, claim, network, slotClaim } from "../support/builders.ts";
import { PlainDatabase } from "../support/plain-database.ts";
import { mountTmpfs } from "../support/tmpfs.ts";

const isRoot = process.getuid?.() === 0;
const NET = network("net", 10, [{ cidr: "10.0.0.0/16" }]);

/** Writes what the first version's tables keep of a database into a database of that version. */
function writeFirstVersion(now: string, path: string): void {
  using plain = new PlainDatabase(path);
  const { database } = plain;
  database.prepare("ATTACH ? AS now").run(now);
  database.pragma(`application_id = ${database.pragma("now.application_id", { simple: true })}`);
  database.exec(`${MIGRATIONS[0]?.sql} DELETE FROM store_state;
    CREATE TABLE schema_migrations AS SELECT * FROM now.schema_migrations WHERE version = ${MIGRATIONS[0]?.version}`);
  const tables = database.prepare<[], string>(
    "SELECT name FROM main.sqlite_schema WHERE type = 'table' ORDER BY rowid",
  );
  for (const table of tables
    .pluck()
    .all()
    .filter(name => name !== "schema_migrations")) {
    const columns = database
      .prepare<[string], string>("SELECT name FROM pragma_table_info(?, 'main')")
      .pluck()
      .all(table);
    database.exec(`INSERT INTO main.${table} (${columns}) SELECT ${columns} FROM now.${table}`);
  }
}

describe("SQLite file", () => {
  it("rejects changes while the open file is moved away", async () => {
    const directory = await mkdtemp(join(tmpdir(), "mooring-sqlite-file-"));
    try {
      const [path, aside] = [join(directory, "ipam.db"), join(directory, "aside.db")];
      await using store = await openSqliteStore({ path });
      await store.putNetwork(NET, "test");
      await rename(path, aside);
      const gone = { code: "unavailable", message: /ipam\.db was moved or removed.*put the file back/ };
      await assert.rejects(store.commit([claim("p", "a", "s")]), gone);
      await assert.rejects(store.ready(), gone);
      await writeFile(path, "");
      await assert.rejects(store.ready(), { code: "unavailable", message: /replaced by another file/ });
      await rename(aside, path);
      await store.ready();
      assert.equal((await attach(store, claim("p", "a", "s"))).port.epoch, 1);
      await assertHealthy(store);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it("migrates a database of the first version with its ports", async () => {
    const directory = await mkdtemp(join(tmpdir(), "mooring-sqlite-file-"));
    try {
      const [now, path] = [join(directory, "now.db"), join(directory, "first.db")];
      {
        await using store = await openSqliteStore({ path: now });
        await store.putNetwork(NET, "test");
        await attach(store, claim("p", "a", "s"));
      }
      writeFirstVersion(now, path);
      await using store = await openSqliteStore({ path });
      assert.equal((await attach(store, claim("p", "a", "s"))).port.epoch, 1);
      assert.equal((await attach(store, slotClaim("app", "a", "t"))).port.name, "app/0");
      await assertHealthy(store);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  describe("unusable database file", () => {
    let directory = "";
    before(async () => {
      directory = await mkdtemp(join(tmpdir(), "mooring-sqlite-file-"));
    });
    after(() => rm(directory, { recursive: true, force: true }));

    async function assertRefused(path: string, pattern: RegExp): Promise<void> {
      await assert.rejects(openSqliteStore({ path }), (error: IpamError) => {
        assert.equal(error.code, "unavailable");
        assert.ok(error.message.includes(path), error.message);
        assert.match(error.message, pattern);
        return true;
      });
    }

    it("rejects a file that is not a database, unchanged", async () => {
      const path = join(directory, "notes.db");
      await writeFile(path, "these are my notes, not a database\n".repeat(100));
      await assertRefused(path, /not an SQLite database/);
      assert.match(await readFile(path, "utf8"), /^these are my notes/);
    });

    it("rejects another program's database", async () => {
      const path = join(directory, "other.db");
      using other = new PlainDatabase(path);
      other.database.exec("CREATE TABLE recipes (name TEXT)");
      other[Symbol.dispose]();
      await assertRefused(path, /belongs to another program/);
    });

    it("rejects a database newer than the program", async () => {
      const path = join(directory, "newer.db");
      await (await openSqliteStore({ path }))[Symbol.asyncDispose]();
      using newer = new PlainDatabase(path);
      newer.database.exec("INSERT INTO schema_migrations VALUES (999, 'of the future', 0)");
      newer[Symbol.dispose]();
      await assertRefused(path, /schema version 999, newer than this program's \d+;/);
    });

    it("rejects a damaged database", async () => {
      const path = join(directory, "damaged.db");
      {
        await using store = await openSqliteStore({ path });
        await store.putNetwork(NET, "test");
      }
      await truncate(path, 6000);
      await assertRefused(path, /damaged|not an SQLite database/);
    });

    it("rejects a database that another server has open", async () => {
      const path = join(directory, "shared.db");
      await using store = await openSqliteStore({ path });
      await assertRefused(path, /in use by another process/);
      await store.ready();
    });

    it("rejects a directory, and a file in a missing directory", async () => {
      await assertRefused(directory, /is a directory/);
      await assertRefused(join(directory, "missing", "ipam.db"), /no directory/);
    });

    it("rejects a read-only file system", { skip: !isRoot && "needs root to mount" }, async () => {
      await using mount = await mountTmpfs(directory, "read-only", "size=8m");
      const path = join(mount.path, "ipam.db");
      await (await openSqliteStore({ path }))[Symbol.asyncDispose]();
      execFileSync("mount", ["-o", "remount,ro", mount.path]);
      await assertRefused(path, /read-only|cannot be opened/);
    });

    it("names the file on a full disk, loses nothing and recovers with space", {
      skip: !isRoot && "needs root to mount",
    }, async () => {
      await using mount = await mountTmpfs(directory, "full", "size=2m");
      const path = join(mount.path, "ipam.db");
      await using store = await openSqliteStore({ path, eventBytes: 2 ** 40 });
      await store.putNetwork(NET, "test");
      const filler = join(mount.path, "filler");
      await writeFile(filler, Buffer.alloc(1_000_000));
      const acknowledged: string[] = [];
      const fill = async () => {
        for (let index = acknowledged.length; index < 20_000; index += 20) {
          const names = Array.from({ length: 20 }, (_, offset) => `p${index + offset}`);
          await store.commit(names.map(name => claim(name, "a", name)));
          acknowledged.push(...names);
        }
      };
      await assert.rejects(fill(), { code: "unavailable", message: /ipam\.db cannot grow: its disk is full/ });
      await assert.rejects(fill(), { code: "unavailable" });
      await assert.rejects(store.ready(), { code: "unavailable", message: /ipam\.db cannot grow: its disk is full/ });
      assert.ok((await store.readPort("p0")).fixedIps.length > 0, "reads still succeed");
      await rm(filler);
      await attach(store, claim("later", "a", "later"));
      await assertHealthy(store);
      const [subnet] = (await store.readNetwork("net")).subnets;
      assert.equal(subnet?.usage.held, acknowledged.length + 1);
    });

    it("starts on a full disk, reads, names the disk and recovers with space", {
      skip: !isRoot && "needs root to mount",
    }, async () => {
      await using mount = await mountTmpfs(directory, "full-at-start", "size=2m");
      const path = join(mount.path, "ipam.db");
      {
        await using store = await openSqliteStore({ path });
        await store.putNetwork(NET, "test");
        await attach(store, claim("before", "a", "before"));
      }
      const filler = join(mount.path, "filler");
      await assert.rejects(writeFile(filler, Buffer.alloc(4_000_000)), { code: "ENOSPC" });
      await using store = await openSqliteStore({ path });
      assert.ok((await store.readPort("before")).fixedIps.length > 0);
      assert.equal((await store.readEvents({ host: "a" })).events[0]?.port, "before");
      const full = { code: "unavailable", message: /ipam\.db cannot grow: its disk is full; free some space/ };
      await assert.rejects(store.ready(), full);
      await assert.rejects(store.commit([claim("more", "a", "more")]), full);
      await rm(filler);
      await store.ready();
      await attach(store, claim("more", "a", "more"));
      await assertHealthy(store);
    });
  });
});
