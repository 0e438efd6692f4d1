import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Claim } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_RETENTION } from "../../../ipam-server/domain/clusters/workload-retention.ts";
import { LEASE_MS } from "../../../ipam-server/domain/decide/decision-scope.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import {
  addressesOf,
  attach,
  attached,
  bornAt,
  claim,
  commitOne,
  leaseClaim,
  network,
  REUSE_DELAY_MS,
  refused,
  release,
} from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const YEAR_MS = 365 * 86_400_000;
const TTL_MS = 600_000;
const NETWORKS = [network("net", 10, [{ cidr: "10.0.0.0/30" }], { nodeLease: { size: 1 } })];
const kept = { retention: { policy: "sticky", ttlSeconds: TTL_MS / 1000 } } as const;

export function testClockJumps(engine: Engine): void {
  /** Leaves a kept port unbound, and an address that waits for reuse. */
  const releaseTwo = async (store: Store): Promise<void> => {
    await attach(store, claim("kept", "a", "kept", kept));
    await attach(store, claim("gone", "a", "gone"));
    await store.commit([release("a", "kept"), release("a", "gone")]);
  };

  describe(`${engine.name}: jumps of the clock`, () => {
    for (const [how, jumpMs] of [
      ["ahead", YEAR_MS],
      ["back", -YEAR_MS],
    ] as const) {
      it(`change no wait when the server sees the clock set ${how}`, async () => {
        await withStore(engine, NETWORKS, async (store, clock) => {
          await releaseTwo(store);
          clock.pass(jumpMs);
          assert.equal(await store.collectExpired(jumpMs), 0);
          refused(await commitOne(store, claim("new", "a", "new")), "no_address_available", /60 s/);
          clock.pass(REUSE_DELAY_MS);
          assert.deepEqual(addressesOf(await attach(store, claim("new", "a", "new"))), ["10.0.0.2"]);
          clock.pass(TTL_MS - REUSE_DELAY_MS - 1);
          assert.equal(await store.collectExpired(), 0);
          clock.pass(1);
          assert.equal(await store.collectExpired(), 1);
        });
      });
    }

    for (const [how, jumpMs] of [
      ["ahead", YEAR_MS],
      ["back", -YEAR_MS],
    ] as const) {
      for (const isSeen of [true, false]) {
        if (jumpMs > 0 && !isSeen) continue; // It looks like time that passed.
        const whether = isSeen ? "seen" : "not seen";
        it(`keep an address of a removed subnet waiting as long when the clock is set ${how}, ${whether}`, async () => {
          await withStore(engine, NETWORKS, async (store, clock) => {
            const ips = addressesOf(await attach(store, claim("old", "a", "old")));
            await store.commit([release("a", "old")]);
            await store.deleteNetwork("net", "test");
            clock.pass(jumpMs);
            await store.collectExpired(isSeen ? jumpMs : 0);
            clock.pass(REUSE_DELAY_MS - 1);
            for (const manifest of NETWORKS) await store.putNetwork(manifest, "test");
            const next = () => commitOne(store, claim("new", "a", "new", { ips }));
            refused(await next(), "address_in_use", /port old.* 1 s/);
            clock.pass(1);
            assert.deepEqual(addressesOf(attached(await next())), ips);
          });
        });
      }
    }

    it("back end what had ended before them", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        await releaseTwo(store);
        clock.pass(TTL_MS);
        clock.pass(-YEAR_MS);
        assert.equal(await store.collectExpired(-YEAR_MS), 1);
      });
    });

    it("back keep no newer owner from a kept port, and an older one as before", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        const bind = (uid: string, seconds: number, more: Partial<Claim> = {}) =>
          commitOne(store, claim("web", "a", uid, { ...kept, owner: bornAt(uid, seconds), ...more }));
        attached(await bind("first", 0));
        clock.pass(-YEAR_MS);
        attached(await bind("second", 900));
        refused(await bind("late", -1), "stale_owner");
        const migration = { host: "b", migration: { id: "m" } };
        assert.ok(attached(await bind("target", 1200, migration)).inactive);
        refused(await bind("former", -1, migration), "stale_owner");
      });
    });

    it("make no wait longer than its delay when the server was not running", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        clock.pass(YEAR_MS);
        await releaseTwo(store);
        clock.pass(-YEAR_MS);
        assert.equal(await store.collectExpired(0), 0);
        clock.pass(REUSE_DELAY_MS);
        assert.deepEqual(addressesOf(await attach(store, claim("new", "a", "new"))), ["10.0.0.2"]);
        clock.pass(TTL_MS - REUSE_DELAY_MS);
        assert.equal(await store.collectExpired(), 1);
      });
    });

    for (const [whose, own, networks, seconds] of [
      ["its own", { whenDeleted: 60 }, {}, 60],
      ["its network's", {}, { retention: { whenDeleted: 120 } }, 120],
      ["the server's", {}, {}, DEFAULT_RETENTION.whenDeleted],
      ["its own and longer", { whenDeleted: 60 * 86_400 }, { retention: { whenDeleted: 120 } }, 60 * 86_400],
    ] as const) {
      it(`keep an unneeded port for ${whose} time when the server was not running`, async () => {
        const net = network("net", 10, [{ cidr: "10.0.0.0/24" }], networks);
        await withStore(engine, [net], async (store, clock) => {
          clock.pass(YEAR_MS);
          await attach(store, claim("kept", "a", "kept", { retention: { policy: "sticky", ...own } }));
          await store.commit([release("a", "kept")]);
          const { name, id, epoch } = await store.readPort("kept");
          const report = { name, id, epoch, need: "deleted" } as const;
          await store.commit([{ kind: "workloadReport", caller: "test", report }]);
          clock.pass(-YEAR_MS);
          assert.equal(await store.collectExpired(0), 0);
          const { expiresAt = "" } = await store.readPort("kept");
          assert.equal(Date.parse(expiresAt), clock.now + Number(seconds) * 1000);
        });
      });
    }

    it("end leases when a lease that begins now would end", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        clock.pass(YEAR_MS);
        await attach(store, leaseClaim("a", "1"));
        clock.pass(-YEAR_MS);
        await store.collectExpired(0);
        const { expiresAt = "" } = await store.readPort("lease:a/1");
        assert.equal(Date.parse(expiresAt), clock.now + LEASE_MS);
      });
    });

    it("of an owner's clock keep newer owners away no longer than its skew", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        const ownedAt = (uid: string, ms: number) => ({
          owner: { kind: "pod", uid, createdAt: new Date(ms).toISOString() } as const,
        });
        await attach(store, claim("web", "a", "ahead", { ...kept, ...ownedAt("ahead", clock.now + YEAR_MS) }));
        clock.pass(1000);
        const next = await attach(store, claim("web", "b", "next", { ...kept, ...ownedAt("next", clock.now) }));
        assert.equal(next.port.binding?.host, "b");
        const older = claim("web", "a", "older", { ...kept, ...ownedAt("older", clock.now - 5000) });
        refused(await commitOne(store, older), "stale_owner");
      });
    });
  });
}
