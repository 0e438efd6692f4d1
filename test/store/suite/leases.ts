import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Claim, LEASE_PREFIX } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import {
  addressesOf,
  assertHealthy,
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
  slotClaim,
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

    it("gives a leased port the pod's name and keeps id, addresses and epoch", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        const taking = takeLease(lease.port.name, "c1/ns/p", "a", "p", { labels: { app: "web" }, cluster: "c1" });
        const { port } = await attach(store, taking);
        const { id, mac, fixedIps, epoch, network: on } = lease.port;
        assert.deepEqual([port.id, port.mac, port.fixedIps, port.epoch, port.network], [id, mac, fixedIps, epoch, on]);
        assert.deepEqual(port.binding?.sandbox, { id: "p", interface: "eth0" });
        assert.deepEqual([port.owner?.uid, port.labels, port.expiresAt], ["p", { app: "web" }, undefined]);
        assert.equal(port.state, "BUILD_ACTIVE");
        assert.deepEqual(await namesOf(store), ["c1/ns/p"]);
        assert.deepEqual(await store.readPort("c1/ns/p"), port);
        const message = `from ${lease.port.name}`;
        const { events } = await store.readEvents({ port: "c1/ns/p" });
        assert.deepEqual(
          events.map(({ type, message: text }) => [type, text]),
          [["port.bound", message]],
        );
        await attach(store, leaseClaim("a", "2"));
        await store.commit([release("a", "p")]);
        const byAddress = await store.readEvents({ ip: addressesOf(lease)[0] ?? "" });
        assert.deepEqual(
          byAddress.events.map(({ type, port: name }) => `${type} ${name}`),
          [
            "port.created lease:a/1",
            "port.bound lease:a/1",
            "port.bound c1/ns/p",
            "port.released c1/ns/p",
            "port.deleted c1/ns/p",
          ],
        );
        await assertHealthy(store);
      });
    });

    it("answers the same sandbox alike, and another pod with a conflict", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        const taking = takeLease(lease.port.name, "p", "a", "p");
        const first = await attach(store, taking);
        const { lastSeq } = await store.readEvents({});
        assert.deepEqual(await attach(store, taking), first);
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
        refused(
          await commitOne(store, takeLease(lease.port.name, "q", "a", "q")),
          "conflict",
          /no lease of host a any more/,
        );
        assert.deepEqual(await namesOf(store), ["p"]);
      });
    });

    it("assigns a lease to one pod of a batch", async () => {
      await withStore(engine, [NET], async store => {
        const name = "lease:a/1";
        const outcomes = await store.commit([
          leaseClaim("a", "1"),
          takeLease(name, "p", "a", "p"),
          takeLease(name, "q", "a", "q"),
          release("a", "p"),
        ]);
        assert.equal(attached(outcomes[1]).port.id, attached(outcomes[0]).port.id);
        refused(outcomes[2], "conflict");
        assert.deepEqual(outcomes[3], { released: true, name: "p", deleted: true });
        assert.deepEqual(await namesOf(store), []);
        await assertHealthy(store);
      });
    });

    it("rejects another host's lease and an existing name", async () => {
      await withStore(engine, [NET], async store => {
        const { name } = (await attach(store, leaseClaim("a", "1"))).port;
        refused(await commitOne(store, takeLease(name, "p", "b", "p")), "conflict", /no lease of host b/);
        await attach(store, claim("p", "b", "other"));
        refused(await commitOne(store, takeLease(name, "p", "a", "p")), "port_in_use", /exists already/);
        await attach(store, claim("q", "a", "other"));
        refused(await commitOne(store, takeLease("q", "r", "a", "r")), "conflict", /q is no lease/);
        assert.equal((await store.readPort(name)).binding?.host, "a");
      });
    });

    it("replaces a pre-claim with the lease that the pod has", async () => {
      await withStore(engine, [NET], async store => {
        const { port: lease } = await attach(store, leaseClaim("a", "1"));
        const ahead = claim("p", "a", "p");
        if (ahead.kind === "claim") delete ahead.claim.sandbox;
        const { port: unused } = await attach(store, ahead);
        refused(await commitOne(store, takeLease("lease:a/2", "p", "a", "p")), "conflict");
        assert.equal((await store.readPort("p")).id, unused.id, "a refusal changes nothing");
        const taken = await attach(store, takeLease(lease.name, "p", "a", "p"));
        assert.deepEqual([taken.port.id, taken.port.epoch], [lease.id, lease.epoch]);
        assert.deepEqual(await namesOf(store), ["p"]);
        // Come late, it finds the pod's port.
        assert.equal((await attach(store, ahead)).port.id, lease.id);
        const { events } = await store.readEvents({ port: "p" });
        assert.deepEqual(
          events.map(({ type, portId }) => [type, portId === lease.id]),
          [
            ["port.created", false],
            ["port.bound", false],
            ["port.released", false],
            ["port.deleted", false],
            ["port.bound", true],
          ],
        );
        await assertHealthy(store);
      });
    });

    it("replaces no port of another owner, host or sandbox with a lease", async () => {
      await withStore(engine, [NET], async store => {
        const { name } = (await attach(store, leaseClaim("a", "1"))).port;
        const ahead = (port: string, host: string, uid: string, more: Partial<Claim> = {}) => {
          const item = claim(port, host, uid, more);
          if (item.kind === "claim") delete item.claim.sandbox;
          return item;
        };
        await attach(store, ahead("other-owner", "a", "q"));
        await attach(store, ahead("other-host", "b", "p"));
        await attach(store, claim("other-sandbox", "a", "p", { sandbox: { id: "s0", interface: "eth0" } }));
        await attach(store, ahead("kept", "a", "p", { retention: { policy: "sticky" } }));
        for (const port of ["other-owner", "other-host", "other-sandbox", "kept"]) {
          refused(await commitOne(store, takeLease(name, port, "a", "p")), "port_in_use", /exists already/);
        }
        assert.equal((await store.readPort(name)).binding?.host, "a");
        await assertHealthy(store);
      });
    });

    it("renews an assigned lease without taking addresses of later items", async () => {
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

    it("rejects a sticky port from a lease", async () => {
      await withStore(engine, [NET], async store => {
        const { name } = (await attach(store, leaseClaim("a", "1"))).port;
        const sticky = { retention: { policy: "sticky" } } as const;
        refused(
          await commitOne(store, takeLease(name, "p", "a", "p", sticky)),
          "invalid_request",
          /sticky ports are claimed by name/,
        );
        const slot = slotClaim("app", "a", "p", { leasedPort: name });
        refused(await commitOne(store, slot), "invalid_request", /leasedPort/);
        assert.deepEqual(await namesOf(store), [name]);
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
        // Given away in time, told late.
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

    it("moves a port that came from a lease to a newer pod of the name", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        await attach(store, takeLease(lease.port.name, "p", "a", "p"));
        const moved = await attach(store, claim("p", "b", "q", { owner: bornAt("q", 10) }));
        assert.deepEqual(
          [moved.port.id, moved.port.epoch, addressesOf(moved)],
          [lease.port.id, lease.port.epoch + 1, addressesOf(lease)],
        );
      });
    });
  });
}
