import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { attach, claim, network, release } from "../support/builders.ts";
import { PlainDatabase } from "../support/plain-database.ts";

describe("long reads of a SQLite store", () => {
  let directory = "";
  let store: Store;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mooring-sqlite-reads-"));
    store = await openSqliteStore({ path: join(directory, "ipam.db") });
    await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/24" }]), "test");
    await attach(store, claim("web", "a", "web", { labels: { app: "web" } }));
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  for (const [what, read] of [
    ["events of a host", async () => (await store.readEvents({ host: "a" })).events[0]?.port],
    ["events of a port", async () => (await store.readEvents({ port: "web" })).events[0]?.port],
    ["ports by label", async () => (await store.readPorts({ label: "app=web" })).ports[0]?.name],
  ] as const) {
    it(`commits while it reads ${what}`, async () => {
      let found: string | undefined;
      const reading = read().then(name => {
        found = name;
      });
      // A read on this thread would have ended before the first of these commits.
      await attach(store, claim("during", "b", "during"));
      await store.commit([release("b", "during")]);
      assert.equal(found, undefined);
      await reading;
      assert.equal(found, "web");
    });
  }

  it("reads on after its thread failed", async () => {
    const path = join(directory, "replaced.db");
    await using other = await openSqliteStore({ path });
    using plain = new PlainDatabase(path);
    plain.database.exec("ALTER TABLE events RENAME TO gone");
    await assert.rejects(other.readEvents({ host: "a" }), { code: "internal", message: /no such table: events/ });
    plain.database.exec("ALTER TABLE gone RENAME TO events");
    assert.deepEqual((await other.readEvents({ host: "a" })).events, []);
  });
});
