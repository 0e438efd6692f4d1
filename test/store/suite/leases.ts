import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LEASE_PREFIX } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  attached,
  claim,
  commitOne,
  leaseClaim,
  network,
  REUSE_DELAY_MS,
  refused,
} from "../support/builders.ts";
import { namesOf, returnLease, takeLease } from "../support/lease-builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NODE_LEASE = { size: 4, low: 2 };
const NET = network("net", 10, [{ cidr: "10.0.0.0/24" }, { cidr: "fd00::/64" }], { nodeLease: NODE_LEASE });
const HOUR_MS = 3_600_000;

export function testLeases(engine: Engine): void {
  describe(`${engine.name}: leases`, () => {
    it("binds a leased port to its node and returns its expiry", async () => {
      await withStore(engine, [NET], async (store, clock) => {
        const { port, nodeLease } = await attach(store, leaseClaim("a", "1"));
        assert.deepEqual(nodeLease, NODE_LEASE);
        assert.deepEqual((await store.readNetwork("net")).nodeLease, NODE_LEASE);
        assert.equal(port.expiresAt, new Date(clock.now + HOUR_MS).toISOString());
        assert.equal(port.state, "DOWN_ACTIVE");
        assert.equal(port.binding?.host, "a");
        assert.equal(port.binding.sandbox, undefined);
        assert.equal(addressesOf({ port }).length, 2);
        await assertHealthy(store);
      });
    });

    it("renews an assigned lease without using addresses of later items", async () => {
      await withStore(engine, [NET], async store => {
        await attach(store, leaseClaim("a", "1"));
        const outcomes = await store.commit([
          takeLease("lease:a/1", "p", "a", "p"),
          leaseClaim("a", "1"),
          claim("q", "b", "q"),
          claim("r", "b", "r"),
        ]);
        const addresses = outcomes.flatMap(outcome => addressesOf(attached(outcome)));
        assert.equal(new Set(addresses).size, 8);
        await assertHealthy(store);
      });
    });

    it("assigns leased addresses to no other host, and keeps the last tenth", async () => {
      const tiny = network("tiny", 11, [{ cidr: "10.0.1.0/28" }], { nodeLease: NODE_LEASE });
      await withStore(engine, [tiny], async store => {
        const leases = await store.commit(Array.from({ length: 14 }, (_, n) => leaseClaim("a", String(n))));
        const held = leases.filter(outcome => "port" in outcome).map(attached);
        assert.equal(held.length, 13);
        refused(leases.at(-1), "no_address_available", /less than a tenth of its addresses left/);
        await attach(store, claim("last", "b", "last"));
        refused(await commitOne(store, claim("more", "b", "more")), "no_address_available");
        assert.equal(
          new Set([...held, await store.readPort("last")].flatMap(h => addressesOf("port" in h ? h : { port: h })))
            .size,
          14,
        );
      });
    });

    it("renews a claimed lease without an event, and frees nothing at its end", async () => {
      await withStore(engine, [NET], async (store, clock) => {
        const first = await attach(store, leaseClaim("a", "1"));
        clock.pass(HOUR_MS / 2);
        const { lastSeq } = await store.readEvents({});
        const { port } = await attach(store, leaseClaim("a", "1"));
        assert.deepEqual([port.id, port.epoch], [first.port.id, first.port.epoch]);
        assert.equal(port.expiresAt, new Date(clock.now + HOUR_MS).toISOString());
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
        clock.pass(2 * HOUR_MS);
        assert.equal(await store.collectExpired(), 0);
        // Assigned in time, and reported late.
        const taken = await attach(store, takeLease(port.name, "p", "a", "p"));
        assert.equal(taken.port.id, port.id);
        await assertHealthy(store);
      });
    });

    it("applies the reuse delay to a returned lease, and keeps an assigned one", async () => {
      await withStore(engine, [NET], async (store, clock) => {
        const kept = await attach(store, leaseClaim("a", "1"));
        const given = await attach(store, leaseClaim("a", "2"));
        await attach(store, takeLease(kept.port.name, "p", "a", "p"));
        const back = await store.commit([
          returnLease(kept.port.name, "a", "agent-a"),
          returnLease(given.port.name, "a", "another"),
          returnLease(given.port.name, "a", "agent-a"),
        ]);
        assert.deepEqual(back, [
          { released: false, reason: "not_found", name: kept.port.name },
          { released: false, reason: "stale", name: given.port.name },
          { released: true, name: given.port.name, deleted: true },
        ]);
        const [wanted = ""] = addressesOf(given);
        const again = claim("q", "b", "q", { ips: [wanted] });
        refused(await commitOne(store, again), "address_in_use", /waits/);
        clock.pass(REUSE_DELAY_MS);
        assert.equal(addressesOf(await attach(store, again))[0], wanted);
      });
    });

    it("neither leases nor renews on a network without node leases", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        refused(await commitOne(store, leaseClaim("a", "1", { networkSelector: "env=prod" })), "no_matching_network");
        const { nodeLease: _, ...spec } = NET.spec;
        const { changes } = await store.putNetwork({ ...NET, spec }, "test");
        assert.match(changes.join(), /nodeLease: .*-> none/);
        refused(await commitOne(store, leaseClaim("a", "1")), "conflict", /leases no addresses/);
        refused(await commitOne(store, leaseClaim("a", "2")), "conflict", /leases no addresses/);
        // What was given to a pod stays its own.
        await attach(store, takeLease(lease.port.name, "p", "a", "p"));
        await assertHealthy(store);
      });
    });

    it("reserves the names of leases", async () => {
      await withStore(engine, [NET], async store => {
        const wrong = async (item: Mutation, pattern: RegExp) =>
          refused(await commitOne(store, item), "invalid_request", pattern);
        await wrong(claim("lease:a/1", "a", "p"), /begins the names of leases/);
        await wrong(leaseClaim("a", "1", { name: "lease:b/1" }), /begins with lease:a\//);
        await wrong(leaseClaim("a", "1", { name: "c1/ns/p" }), /begins with lease:a\//);
        await wrong(leaseClaim("a", "1", { sandbox: { id: "s", interface: "eth0" } }), /has no sandbox/);
        await wrong(leaseClaim("a", "1", { retention: { policy: "sticky" } }), /ephemeral/);
        await wrong(leaseClaim("a", "1", { leasedPort: "lease:a/2" }), /of another one/);
        const reservation = { networkSelector: "env=test" };
        await wrong(
          { kind: "reserve", caller: "test", name: `${LEASE_PREFIX}a/1`, reservation },
          /begins the names of leases/,
        );
        assert.deepEqual(await namesOf(store), []);
      });
    });
  });
}
