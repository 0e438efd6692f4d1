import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import Database from "better-sqlite3";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { copyDatabase } from "../../../ipam-server/storage/sqlite/transfer/copy-database.ts";
import { testTransfer } from "../suite/transfer.ts";
import { network } from "../support/builders.ts";
import { sqliteEngine } from "../support/sqlite-engine.ts";

testTransfer(sqliteEngine);

async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), `mooring-copy-${process.pid}-`));
  try {
    await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const isOverloaded = (error: unknown) => error instanceof IpamError && error.code === "overloaded";

describe("SQLite copies", () => {
  it("makes one copy at a time, and removes those of a killed server", async () => {
    await inDirectory(async directory => {
      const path = join(directory, "ipam.db");
      await writeFile(`${path}.copy-of-a-killed-server`, "half");
      await using store = await openSqliteStore({ path });
      await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/24" }]), "test");
      assert.ok(store.copy);
      {
        await using copy = await store.copy();
        const bytes: Uint8Array[] = [];
        for await (const chunk of copy.read()) bytes.push(chunk);
        assert.equal(Buffer.concat(bytes).length, copy.size);
        await assert.rejects(store.copy(), isOverloaded);
        await assert.rejects(store.exportRows()[Symbol.asyncIterator]().next(), isOverloaded);
      }
      const rows = store.exportRows()[Symbol.asyncIterator]();
      await rows.next();
      await assert.rejects(store.copy(), isOverloaded);
      await rows.return?.();
      await (await store.copy())[Symbol.asyncDispose]();
      assert.deepEqual((await readdir(directory)).sort(), ["ipam.db", "ipam.db-wal"]);
    });
  });

  it("completes a copy while other connections change the database", async () => {
    await inDirectory(async directory => {
      const path = join(directory, "ipam.db");
      await (await openSqliteStore({ path }))[Symbol.asyncDispose]();
      const [ours, theirs] = [new Database(path), new Database(path)];
      try {
        const note = theirs.prepare("INSERT INTO schema_migrations VALUES (?, ?, 0)");
        theirs.transaction(() => {
          for (let i = 1000; i < 20_000; i++) note.run(i, "x".repeat(200));
        })();
        let written = 20_000;
        const writing = setInterval(() => note.run(written++, "meanwhile"), 0);
        const copy = await copyDatabase(ours).finally(() => clearInterval(writing));
        const copied = new Database(copy, { readonly: true });
        assert.equal(copied.pragma("integrity_check", { simple: true }), "ok");
        assert.equal(
          copied.prepare("SELECT count(*) FROM schema_migrations WHERE version >= 1000").pluck().get(),
          19_000,
        );
        copied.close();
      } finally {
        ours.close();
        theirs.close();
      }
    });
  });
});
