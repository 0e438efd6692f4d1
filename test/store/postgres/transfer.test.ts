import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { ImportResponse, TransferEnd } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import type { TransferPort, TransferRow } from "../../../ipam-server/domain/transfer/transfer.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { testTransfer } from "../suite/transfer.ts";
import { withStore } from "../suite/with-store.ts";
import {
  assertHealthy,
  attach,
  Clock,
  claim,
  commitOne,
  network,
  REUSE_DELAY_MS,
  refused,
} from "../support/builders.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { postgresEngine } from "../support/postgres-engine.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";
import { sqliteEngine } from "../support/sqlite-engine.ts";
import { mountTmpfs } from "../support/tmpfs.ts";
import { collect, fill, importAll, sealed, WEB_SET } from "../support/transfer-content.ts";

const EMPTY: TransferRow[] = [{ kind: "state", lastSeq: 0, nextPortKey: 1, epochFloor: 0 }];
const DUAL = { networkSelector: "env=dual" };

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

const postgres = postgresEngine(() => server);
testTransfer(postgres);

/** What a filled SQLite store exports. */
async function fromSqlite(clock = new Clock()): Promise<TransferRow[]> {
  let rows: TransferRow[] = [];
  await withStore(sqliteEngine, [], async (store, itsClock) => {
    await fill(store, itsClock);
    clock.now = itsClock.now;
    rows = await collect(store);
  });
  return rows;
}

async function assertImportRefused(store: Store, importing: Promise<ImportResponse>, message: RegExp): Promise<void> {
  await assert.rejects(importing, { name: "IpamError", code: "unavailable", message });
  await store.ready();
  assert.deepEqual(await collect(store), EMPTY, "nothing was written");
}

describe("transfer on PostgreSQL", () => {
  it("keeps everything from SQLite to PostgreSQL and back", async () => {
    const rows = await fromSqlite();
    await withStore(postgres, [], async there => {
      const imported = await importAll(there, rows);
      assert.deepEqual(await collect(there), rows);
      await withStore(sqliteEngine, [], async back => {
        assert.deepEqual(await importAll(back, await collect(there)), imported);
        assert.deepEqual(await collect(back), rows);
      });
    });
  });

  it("blocks other replicas during an import, and reuses no key or epoch", async () => {
    const clock = new Clock();
    const rows = await fromSqlite(clock);
    const state = rows.at(-1);
    assert.ok(state?.kind === "state");
    state.epochFloor = 5_000_000;
    const url = await server.createDatabase();
    const options = { url, clock: clock.read, reuseDelayMs: REUSE_DELAY_MS };
    await using first = await openPostgresStore(options);
    await using second = await openPostgresStore(options);
    // It has its block of keys now, the same as those that are imported.
    refused(await commitOne(second, claim("early", "a", "e", DUAL)), "no_matching_network");
    const notified = Promise.withResolvers<number>();
    second.onEvents(notified.resolve);

    let early: ReturnType<typeof attach> | undefined;
    const meanwhile = (async function* () {
      for await (const row of sealed(rows)) {
        yield row;
        if (row.kind !== "network" || early) continue;
        early = attach(second, claim("n1", "c", "n1", DUAL));
        // It is asked for before the rest comes.
        for (const deadline = AbortSignal.timeout(30_000); ; deadline.throwIfAborted()) {
          const [lock] = await server.query<{ waits: string }>(
            "SELECT count(*) AS waits FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
          );
          if (Number(lock?.waits) > 0) break;
        }
      }
    })();
    await first.importRows(meanwhile);
    assert.ok(early);
    const { port } = await early;
    assert.equal(port.epoch, 5_000_001);
    assert.equal(await notified.promise, state.lastSeq);
    assert.equal((await second.readNetworks()).length, 4);
    const moved = await attach(second, claim("c1/default/web-0", "c", "m", { ...DUAL, workload: WEB_SET }));
    assert.equal(moved.port.epoch, 5_000_001);
    await attach(first, claim("n2", "c", "n2", DUAL));
    const ports = (await collect(first)).filter((row): row is TransferPort => row.kind === "port");
    const keyOf = (name: string) => ports.find(each => each.name === name)?.key ?? 0;
    for (const name of ["n1", "n2"]) assert.ok(keyOf(name) >= state.nextPortKey, `${name}: ${keyOf(name)}`);
    const terms = await server.query("SELECT FROM leadership WHERE term > 1700000000000", url);
    assert.equal(terms.length, 1, "terms are lower than those of SQLite");
    await assertHealthy(second);
  });

  it("ends an export with an error when its store closes", async () => {
    const store = await openPostgresStore({ url: await server.createDatabase() });
    await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/24" }]), "test");
    const rows = store.exportRows()[Symbol.asyncIterator]();
    assert.equal((await rows.next()).value?.kind, "network");
    await store[Symbol.asyncDispose]();
    await assert.rejects(rows.next(), { code: "unavailable", message: "the store is closed" });
  });

  describe("failed import", () => {
    /** The rows; once networks are in, something happens. */
    async function* interrupted(
      rows: readonly TransferRow[],
      happen: () => Promise<unknown>,
    ): AsyncGenerator<TransferRow | TransferEnd> {
      let happened = false;
      for await (const row of sealed(rows)) {
        if (row.kind !== "network" && !happened) {
          happened = true;
          await happen();
        }
        yield row;
      }
    }

    it("imports nothing when the connection is lost", async () => {
      const rows = await fromSqlite();
      const url = await server.createDatabase();
      await using store = await openPostgresStore({ url });
      const importing = store.importRows(interrupted(rows, () => server.terminate(url)));
      await assertImportRefused(store, importing, /; nothing was imported$/);
      await importAll(store, rows);
      assert.deepEqual(await collect(store), rows);
    });

    it("imports nothing or everything when cut before or after the commit", async () => {
      const rows = await fromSqlite();
      await using proxy = await CuttingProxy.start(await server.createDatabase());
      await using store = await openPostgresStore({ url: proxy.url });
      proxy.cutNextCommit("before");
      await assertImportRefused(store, importAll(store, rows), /lost before the commit; nothing was imported$/);
      proxy.cutNextCommit("after");
      await importAll(store, rows);
      assert.equal(proxy.cuts, 2);
      assert.deepEqual(await collect(store), rows);
    });

    it("names missing rights", async () => {
      const rows = await fromSqlite();
      const url = await server.createDatabase();
      await (await openPostgresStore({ url }))[Symbol.asyncDispose]();
      await server.query(
        `CREATE ROLE clerk LOGIN PASSWORD 'clerk'; GRANT CREATE, USAGE ON SCHEMA public TO clerk;
       GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk; REVOKE INSERT ON freed FROM clerk`,
        url,
      );
      await using store = await openPostgresStore({
        url: server.urlOf(new URL(url).pathname.slice(1), "clerk", "clerk"),
      });
      await assertImportRefused(
        store,
        importAll(store, rows),
        /does not give this user the rights it needs.*permission denied for table freed.*nothing was imported$/,
      );
    });

    it("names a full disk", { skip: process.getuid?.() !== 0 && "only root can mount a small disk" }, async () => {
      const rows = await fromSqlite();
      const template = rows.find((row): row is TransferPort => row.kind === "port");
      assert.ok(template);
      const net = await exportOfNetwork();
      const { uid, gid } = server.user ?? {};
      await using disk = await mountTmpfs(server.directory, "small-disk", `size=16m,uid=${uid},gid=${gid},mode=0700`);
      await server.query(`CREATE TABLESPACE small LOCATION '${disk.path}'`);
      const url = await server.createDatabase("TABLESPACE small");
      const filler = join(disk.path, "filler");
      await writeFile(filler, Buffer.alloc(2 << 20));
      try {
        await using store = await openPostgresStore({ url });
        let count = 0;
        const endless = (async function* (): AsyncGenerator<TransferRow> {
          yield net;
          for (let key = 1; ; key++, count++) {
            const address = `10.${key >> 16}.${(key >> 8) & 255}.${key & 255}`;
            const mac = `02:00:00:${[16, 8, 0].map(shift => ((key >> shift) & 255).toString(16).padStart(2, "0")).join(":")}`;
            yield {
              ...template,
              key,
              id: `id-${key}`,
              name: `port-${key}`,
              network: net.name,
              mac,
              addresses: [address],
            };
          }
        })();
        await assertImportRefused(store, store.importRows(endless), /its disk is full; .*nothing was imported$/);
        assert.ok(count > 1000, `${count}`);
        // Vacuum reclaims the space of the rejected import; autovacuum does so once the disk has some room.
        await rm(filler);
        await server.query("VACUUM", url);
        await importAll(store, rows);
        assert.deepEqual(await collect(store), rows);
      } finally {
        await server.dropDatabase(url);
        await server.query("DROP TABLESPACE small");
      }
    });
  });

  async function exportOfNetwork() {
    let found: TransferRow | undefined;
    await withStore(sqliteEngine, [network("wide", 10, [{ cidr: "10.0.0.0/8" }])], async store => {
      [found] = await collect(store);
    });
    assert.ok(found?.kind === "network");
    return found;
  }
});
