import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { assertHealthy, attached, claim, network } from "../support/builders.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/16" }]);
const RETRY_FOR_MS = 500;

let primary: PrivatePostgres;
before(async () => {
  primary = await PrivatePostgres.start();
});
after(() => primary[Symbol.asyncDispose]());

const epochOf = async (store: Store, name: string, host: string): Promise<number> => {
  const [outcome] = await store.commit([claim(name, host, `${name}-${host}`)]);
  return attached(outcome).port.epoch;
};

const hostsOf = (url: string, ...ports: number[]): string =>
  url.replace(/@[^/]+/, `@${ports.map(port => `127.0.0.1:${port}`).join(",")}`);

describe("synchronous replication", () => {
  it("acknowledges nothing that the standby has not confirmed", async () => {
    await using replicated = await PrivatePostgres.start();
    const url = await replicated.createDatabase();
    await using standby = await replicated.startStandby();
    await using store = await openPostgresStore({ url, retryForMs: RETRY_FOR_MS });
    await store.putNetwork(NET, "test");
    assert.equal(await epochOf(store, "web", "a"), 1);
    await standby.down();
    const waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    for (let attempt = 0; attempt < 2; attempt++) {
      // The second time there is nothing left to change on the primary, which does not make it safe.
      const commit = store.commit([claim("late", "a", "late")]);
      const outcome = commit.then(
        () => "acknowledged",
        ({ code }) => code,
      );
      let answer: string | undefined;
      outcome.then(text => (answer = text));
      // An administrator who thinks that the session hangs.
      while (answer === undefined) {
        await replicated.query(`SELECT pg_cancel_backend(pid) ${waiting}`);
        await delay(20);
      }
      assert.equal(answer, "unavailable");
    }
    await standby.up();
    const [outcome] = await store.commit([claim("late", "a", "late")]);
    assert.equal(attached(outcome).port.epoch, 1);
    await assertHealthy(store);
  });
});

describe("promoted standby", () => {
  it("assigns no number again that was assigned on the lost primary", async () => {
    await using former = await PrivatePostgres.start();
    const target = await former.createDatabase();
    await using standby = await former.startStandby();
    await former.query("ALTER SYSTEM RESET synchronous_standby_names");
    await former.query("SELECT pg_reload_conf()");
    const promotions: string[] = [];
    const options = { retryForMs: 20_000, onPromotion: (message: string) => promotions.push(message) };
    await using store = await openPostgresStore({ url: hostsOf(target, former.port, standby.port), ...options });
    await store.putNetwork(NET, "test");
    await epochOf(store, "web", "a");
    const lsn = await former.query<{ lsn: string }>("SELECT pg_current_wal_lsn()::text AS lsn");
    await standby.until(`SELECT pg_last_wal_replay_lsn() >= '${lsn[0]?.lsn}'`);
    await standby.query("SELECT pg_wal_replay_pause()");
    const lost = await epochOf(store, "web", "b");
    const { events } = await store.readEvents({ limit: 1000 });
    const lastSeq = events.at(-1)?.seq ?? 0;
    await former.down("immediate");
    await standby.query("SELECT pg_wal_replay_resume()").catch(() => {});
    await standby.query("SELECT pg_promote()");

    assert.ok((await epochOf(store, "web", "c")) > lost + 1000);
    const later = await store.readEvents({ after: lastSeq, limit: 1000 });
    assert.ok(later.events.every(({ seq }) => seq > lastSeq + 1000));
    assert.equal(promotions.length, 1);
    assert.match(promotions[0] ?? "", /was promoted \(timeline 1 to 2\): counters raised/);
    await assertHealthy(store);

    // The former primary returns, while the new one is away.
    await standby.down();
    await former.up();
    await assert.rejects(epochOf(store, "web", "d"), {
      code: "unavailable",
      message: /is on timeline 1 without the changes this program has made on timeline 2: a former primary/,
    });
    await standby.up();
    assert.ok((await epochOf(store, "web", "d")) > lost + 1000);
    assert.equal(promotions.length, 1);
  });
});

describe("tables that came from elsewhere", () => {
  it("are refused until their restoration was finished", async () => {
    const url = await primary.createDatabase();
    {
      await using store = await openPostgresStore({ url });
      await store.putNetwork(NET, "test");
    }
    // What pg_restore does: the same rows in a table made again.
    await primary.query(
      `CREATE TABLE other (LIKE database_history INCLUDING ALL); INSERT INTO other SELECT * FROM database_history;
       DROP TABLE database_history; ALTER TABLE other RENAME TO database_history`,
      url,
    );
    await assert.rejects(openPostgresStore({ url, retryForMs: RETRY_FOR_MS }), {
      code: "unavailable",
      message: /holds tables that were written elsewhere .* run mooring-ipam restore with this --database/,
    });
  });
});
