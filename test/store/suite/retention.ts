import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Port, Retention, WorkloadReport, WorkloadRetention } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import {
  attach,
  type Clock,
  claim,
  commitOne,
  network,
  REUSE_DELAY_MS,
  refused,
  release,
} from "../support/builders.ts";
import { collect, importAll } from "../support/transfer-content.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const HOUR = 3600;
const NAME = "c1/shop/web-0";
const netOf = (retention?: WorkloadRetention) =>
  network("net", 10, [{ cidr: "10.0.0.0/24" }], retention ? { retention } : {});

async function unbound(store: Store, retention: Partial<Retention> = {}): Promise<Port> {
  await attach(store, claim(NAME, "a", "s1", { retention: { policy: "sticky", ...retention } }));
  await store.commit([release("a", "s1")]);
  return store.readPort(NAME);
}

const report = async (store: Store, { name, id, epoch }: Port, need: WorkloadReport["need"]) =>
  commitOne(store, { kind: "workloadReport", report: { name, id, epoch, need, message: need }, caller: "controller" });

const keptFor = ({ expiresAt }: Port, clock: Clock) =>
  expiresAt === undefined ? undefined : (Date.parse(expiresAt) - clock.read()) / 1000;

export function testRetention(engine: Engine): void {
  describe(`${engine.name}: retention by workload`, () => {
    it("keeps an unneeded port for its own, its network's or the server's time", async () => {
      const week = 7 * 24 * HOUR;
      const cases: [WorkloadRetention | undefined, WorkloadRetention, WorkloadReport["need"], number | undefined][] = [
        [undefined, {}, "deleted", week],
        [undefined, {}, "scaled", week],
        [{ whenDeleted: HOUR }, {}, "deleted", HOUR],
        [{ whenDeleted: HOUR }, {}, "scaled", week],
        [{ whenDeleted: HOUR }, { whenDeleted: 60 }, "deleted", 60],
        [{ whenDeleted: "Delete" }, { whenDeleted: "Retain" }, "deleted", undefined],
      ];
      for (const [ofNetwork, own, need, seconds] of cases) {
        await withStore(engine, [netOf(ofNetwork)], async (store, clock) => {
          await report(store, await unbound(store, own), need);
          const port = await store.readPort(NAME);
          assert.deepEqual([port.unneeded, keptFor(port, clock)], [need, seconds]);
        });
      }
    });

    it("deletes the port at once when its time is Delete, and says why", async () => {
      await withStore(engine, [netOf()], async store => {
        const port = await unbound(store, { whenScaled: "Delete" });
        assert.deepEqual(await report(store, port, "scaled"), { applied: true, deleted: true });
        const last = (await store.readEvents({ port: NAME })).events.at(-1);
        assert.deepEqual([last?.type, last?.message], ["port.deleted", "scaled"]);
      });
    });

    it("leaves a port that would end soon when the report must not end one", async () => {
      const ends: [Retention["whenDeleted"], boolean][] = [
        ["Delete", true],
        [60, true],
        [HOUR, false],
        ["Retain", false],
      ];
      for (const [whenDeleted, isLeft] of ends) {
        await withStore(engine, [netOf()], async store => {
          const { name, id, epoch } = await unbound(store, { ...(whenDeleted !== undefined && { whenDeleted }) });
          const item = { name, id, epoch, need: "deleted", mayEnd: false } as const;
          const outcome = await commitOne(store, { kind: "workloadReport", report: item, caller: "controller" });
          assert.equal("reason" in outcome && outcome.reason === "ends", isLeft);
          assert.equal((await store.readPort(NAME)).unneeded, isLeft ? undefined : "deleted");
        });
      }
    });

    it("counts from the first report, and deletes the port at its end", async () => {
      await withStore(engine, [netOf()], async (store, clock) => {
        const port = await unbound(store, { whenDeleted: HOUR });
        await report(store, port, "deleted");
        clock.pass(HOUR * 999);
        await report(store, port, "deleted");
        assert.equal(await store.collectExpired(), 0);
        clock.pass(HOUR);
        assert.equal(await store.collectExpired(), 1);
        await assert.rejects(store.readPort(NAME), { code: "not_found" });
        assert.deepEqual(await store.check(), []);
      });
    });

    it("keeps the port without a limit again when it is needed, or claimed", async () => {
      await withStore(engine, [netOf()], async store => {
        const port = await unbound(store);
        await report(store, port, "deleted");
        await report(store, port, "needed");
        const back = await store.readPort(NAME);
        assert.deepEqual([back.unneeded, back.expiresAt], [undefined, undefined]);
        await report(store, port, "deleted");
        const again = await attach(store, claim(NAME, "b", "s2", { retention: { policy: "sticky" } }));
        assert.deepEqual(again.port.fixedIps, port.fixedIps);
        assert.deepEqual([again.port.unneeded, again.port.expiresAt], [undefined, undefined]);
      });
    });

    it("leaves a bound, reserved or otherwise kept port as it is", async () => {
      await withStore(engine, [netOf()], async store => {
        const stale = { applied: false, reason: "stale" };
        const port = await unbound(store, { ttlSeconds: HOUR });
        assert.deepEqual(await report(store, port, "deleted"), stale);
        const bound = await attach(store, claim(NAME, "b", "s2", { retention: { policy: "sticky" } }));
        assert.deepEqual(await report(store, bound.port, "deleted"), stale);
        await store.commit([release("b", "s2")]);
        assert.deepEqual(await report(store, { ...bound.port, epoch: 9 }, "deleted"), stale);
        const reservation = { networkSelector: "" };
        await store.commit([{ kind: "reserve", name: NAME, reservation, caller: "me" }]);
        assert.deepEqual(await report(store, bound.port, "deleted"), stale);
        const missing = { ...bound.port, name: "none" };
        assert.deepEqual(await report(store, missing, "deleted"), { applied: false, reason: "not_found" });
      });
    });

    const protect = (store: Store, isProtected: boolean) =>
      commitOne(store, { kind: "protect", name: NAME, protected: isProtected, caller: "me" });

    it("deletes a protected port by no release, expiry, report, deletion or purge", async () => {
      await withStore(engine, [netOf()], async (store, clock) => {
        const retention = { policy: "ephemeral" } as const;
        const { port } = await attach(store, claim(NAME, "a", "s1", { cluster: "c1", retention }));
        refused(await commitOne(store, { kind: "protect", name: "none", protected: true, caller: "me" }), "not_found");
        await protect(store, true);
        assert.deepEqual(await commitOne(store, release("a", "s1")), { released: true, name: NAME, deleted: false });
        const now = await store.readPort(NAME);
        assert.deepEqual([now.protected, now.expiresAt, now.fixedIps], [true, undefined, port.fixedIps]);
        assert.deepEqual(await report(store, now, "deleted"), { applied: false, reason: "stale" });
        refused(
          await commitOne(store, { kind: "deletePort", name: NAME, caller: "me" }),
          "conflict",
          /is protected; unprotect it first \(mooringctl unprotect c1\/shop\/web-0\)/,
        );
        const purge = { kind: "purgePort", name: NAME, cluster: "c1", caller: "me" } as const;
        assert.deepEqual(await commitOne(store, purge), { purged: "kept" });
        const again = await attach(store, claim(NAME, "b", "s2", { retention: { policy: "sticky", ttlSeconds: 60 } }));
        assert.deepEqual([again.port.protected, again.port.fixedIps], [true, port.fixedIps]);
        await store.commit([release("b", "s2")]);
        clock.pass(HOUR * 1000);
        assert.equal(await store.collectExpired(), 0);
        await protect(store, false);
        assert.equal(keptFor(await store.readPort(NAME), clock), 60);
        await commitOne(store, { kind: "deletePort", name: NAME, caller: "me" });
        await assert.rejects(store.readPort(NAME), { code: "not_found" });
      });
    });

    it("deletes an unbound ephemeral port after it is unprotected", async () => {
      await withStore(engine, [netOf()], async store => {
        await attach(store, claim(NAME, "a", "s1", { retention: { policy: "ephemeral" } }));
        await protect(store, true);
        await store.commit([release("a", "s1")]);
        assert.equal(await store.collectExpired(), 0);
        await protect(store, false);
        assert.equal(await store.collectExpired(), 1);
      });
    });

    it("begins the retention of an unneeded port again when it is no longer protected", async () => {
      await withStore(engine, [netOf()], async store => {
        const port = await unbound(store);
        await report(store, port, "deleted");
        await protect(store, true);
        const kept = await store.readPort(NAME);
        assert.deepEqual([kept.unneeded, kept.expiresAt], [undefined, undefined]);
        await protect(store, false);
        await report(store, port, "deleted");
        assert.ok((await store.readPort(NAME)).expiresAt);
      });
    });

    it("forgets the need that an older program left on a port that it bound", async () => {
      await using database = await engine.createDatabase();
      const options = { reuseDelayMs: REUSE_DELAY_MS, clock: Date.now };
      {
        await using store = await database.open(options);
        await store.putNetwork(netOf(), "test");
        await report(store, await unbound(store), "deleted");
        await attach(store, claim(NAME, "a", "s2"));
      }
      await database.execute(`UPDATE ports SET keep = '{"unneeded":"deleted"}'`);
      await using store = await database.open(options);
      await store.commit([release("a", "s2")]);
      const port = await store.readPort(NAME);
      assert.equal(port.unneeded, undefined);
      await report(store, port, "deleted");
      assert.ok((await store.readPort(NAME)).expiresAt);
    });

    it("exports and imports the times of ports and networks", async () => {
      await withStore(engine, [netOf({ whenScaled: "Retain" })], async (store, clock) => {
        await report(store, await unbound(store, { whenDeleted: HOUR }), "deleted");
        await attach(store, claim("other", "a", "s9"));
        await commitOne(store, { kind: "protect", name: "other", protected: true, caller: "me" });
        await using database = await engine.createDatabase();
        await using other = await database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: clock.read });
        await importAll(other, await collect(store));
        for (const name of [NAME, "other"]) assert.deepEqual(await other.readPort(name), await store.readPort(name));
        assert.deepEqual((await other.readNetwork("net")).retention, { whenScaled: "Retain" });
      });
    });
  });
}
