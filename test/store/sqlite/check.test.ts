import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { compareCatalogs } from "../../../ipam-server/storage/sqlite/check/check-store.ts";
import { loadCatalog } from "../../../ipam-server/storage/sqlite/rows/catalog-rows.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { attach, claim, network } from "../support/builders.ts";
import { PlainDatabase } from "../support/plain-database.ts";

/** More than are counted at once on the server's own thread. */
const PORTS = 6000;

let directory = "";
let path = "";
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "mooring-sqlite-check-"));
  path = join(directory, "ipam.db");
});
after(() => rm(directory, { recursive: true, force: true }));

async function checkUnderLoad(store: Store): Promise<void> {
  let isOver = false;
  const checking = store.check().finally(() => {
    isOver = true;
  });
  let during = 0;
  while (!isOver) {
    await attach(store, claim(`during-${during++}`, "a", `during-${during}`));
    await new Promise(resolve => setImmediate(resolve));
  }
  assert.deepEqual(await checking, []);
  assert.ok(during > 10, `only ${during} claims succeeded during the check`);
}

describe("check of a SQLite store", () => {
  it("checks a large store during claims, and makes no copy of it", async () => {
    await using store = await openSqliteStore({ path });
    await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/16" }]), "test");
    for (let from = 0; from < PORTS; from += 500) {
      await store.commit(Array.from({ length: 500 }, (_, index) => claim(`p${from + index}`, "a", `s${from + index}`)));
    }
    const checking = checkUnderLoad(store);
    const second = assert.rejects(store.check(), {
      code: "overloaded",
      message: /a backup, export or check is under way/,
    });
    await checking;
    await second;
    assert.deepEqual(
      (await readdir(directory)).filter(name => name.includes("copy")),
      [],
    );
  });

  it("checks a store with a long history during claims", async () => {
    const busy = join(directory, "busy.db");
    {
      await using store = await openSqliteStore({ path: busy, clock: () => 0 });
      await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/16" }]), "test");
    }
    {
      using database = new PlainDatabase(busy);
      database.database.exec(`WITH RECURSIVE numbers (seq) AS (SELECT 10 UNION ALL SELECT seq + 1 FROM numbers LIMIT 50000)
      INSERT INTO events (seq, time, type, caller, message)
      SELECT seq, 0, 'port.state', 'test', hex(zeroblob(100)) FROM numbers`);
    }
    await using store = await openSqliteStore({ path: busy, clock: () => 0 });
    await checkUnderLoad(store);
  });

  it("finds the faults of a large store on another thread", async () => {
    {
      using database = new PlainDatabase(path);
      database.database.exec("DELETE FROM fixed_ips WHERE port_key = (SELECT key FROM ports WHERE name = 'p7')");
    }
    await using store = await openSqliteStore({ path });
    const found = (await store.check()).map(({ what, where }) => `${what} @ ${where}`).join("\n");
    assert.match(found, /a port holds no address @ p7/);
    assert.match(found, /held counter: kept \d+, found \d+ @ subnet 10\.0\.0\.0\/16/);
  });

  it("finds a cached counter that differs from the database", () => {
    using database = new PlainDatabase(path);
    const memory = loadCatalog(database.database);
    assert.deepEqual(compareCatalogs(memory, loadCatalog(database.database)), []);
    database.database.exec("UPDATE subnets SET held = held - 1");
    const [finding] = compareCatalogs(memory, loadCatalog(database.database));
    assert.match(
      `${finding?.what} @ ${finding?.where}`,
      /in memory held 6\d+, .* in the database held \d+, .* @ subnet 10/,
    );
  });
});
