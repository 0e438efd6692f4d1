import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { TransferRow } from "../../../ipam-server/domain/transfer/transfer.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { copyContent } from "../../../ipam-server/storage/sqlite/transfer/copy-content.ts";
import { testTransfer } from "../suite/transfer.ts";
import { network } from "../support/builders.ts";
import { PlainDatabase } from "../support/plain-database.ts";
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
      assert.deepEqual(
        (await readdir(directory)).filter(name => name.includes("copy")),
        [],
      );
    });
  });

  it("exports without copying the history", async () => {
    await inDirectory(async directory => {
      const path = join(directory, "ipam.db");
      {
        await using store = await openSqliteStore({ path });
        await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/24" }]), "test");
      }
      {
        using plain = new PlainDatabase(path);
        plain.database.exec(`WITH RECURSIVE added (seq) AS (SELECT 10 UNION ALL SELECT seq + 1 FROM added LIMIT 5000)
          INSERT INTO events (seq, time, type, caller, message)
          SELECT seq, 0, 'port.state', 'test', hex(zeroblob(100)) FROM added`);
      }
      const copy = join(directory, "content.db");
      using source = new PlainDatabase(path);
      copyContent(source.database, copy);
      assert.ok(statSync(path).size > 1_000_000);
      assert.ok(statSync(copy).size < 500_000);
      await using store = await openSqliteStore({ path, clock: () => 0 });
      const rows: TransferRow[] = [];
      for await (const row of store.exportRows()) rows.push(row);
      assert.deepEqual(rows.at(-1), { kind: "state", lastSeq: 5009, nextPortKey: 1, epochFloor: 0 });
    });
  });
});
