import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Claim, PortReservation } from "../../../ipam-server/contract/index.ts";
import {
  addressesOf,
  attach,
  bornAt,
  claim,
  commitOne,
  network,
  refused,
  release,
  START,
} from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NAME = "c1/default/web-0";
const sticky = { retention: { policy: "sticky" } } as const;
const networks = [network("net", 10, [{ cidr: "10.0.0.0/24", gateway: "10.0.0.1" }, { cidr: "fd00:1::/64" }])];

export function testBindings(engine: Engine): void {
  describe(`${engine.name}: bindings`, () => {
    it("keeps port, addresses and MAC when a pod moves, and increments the epoch", async () => {
      await withStore(engine, networks, async store => {
        const first = await attach(store, claim(NAME, "a", "s1", sticky));
        await store.commit([release("a", "s1", { name: NAME })]);
        const second = await attach(store, claim(NAME, "b", "s2", { owner: bornAt("s2", 5), ...sticky }));
        assert.deepEqual(addressesOf(second), addressesOf(first));
        assert.deepEqual([second.port.id, second.port.mac], [first.port.id, first.port.mac]);
        assert.deepEqual([first.port.epoch, second.port.epoch], [1, 2]);
        assert.equal(second.port.binding?.host, "b");
      });
    });

    it("answers a repeated claim alike and writes no event", async () => {
      await withStore(engine, networks, async (store, clock) => {
        const first = await attach(store, claim(NAME, "a", "s1"));
        const { lastSeq } = await store.readEvents({});
        clock.pass(1000);
        assert.deepEqual(await attach(store, claim(NAME, "a", "s1")), first);
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
      });
    });

    it("ends a binding only by its own release", async () => {
      await withStore(engine, networks, async store => {
        assert.equal((await attach(store, claim(NAME, "a", "s1", sticky))).previousBindingReleased, false);
        assert.equal(
          (await attach(store, claim(NAME, "b", "s2", { owner: bornAt("s2", 1), ...sticky }))).previousBindingReleased,
          false,
        );
        await store.commit([release("b", "s2")]);
        assert.equal(
          (await attach(store, claim(NAME, "c", "s3", { owner: bornAt("s3", 2), ...sticky }))).previousBindingReleased,
          true,
        );
      });
    });

    it("completes a pre-claim with its sandbox in the same epoch", async () => {
      await withStore(engine, networks, async store => {
        const preclaim = claim(NAME, "a", "u", {});
        if (preclaim.kind === "claim") delete preclaim.claim.sandbox;
        assert.equal((await attach(store, preclaim)).port.binding?.sandbox, undefined);
        const full = await attach(store, claim(NAME, "a", "u", { sandbox: { id: "s1", interface: "eth0" } }));
        assert.deepEqual([full.port.epoch, full.port.binding?.sandbox?.id], [1, "s1"]);
        assert.deepEqual((await attach(store, preclaim)).port, full.port);
        assert.deepEqual(await commitOne(store, release("a", "s1")), { released: true, name: NAME, deleted: true });
      });
    });

    it("ends a binding without a sandbox by its owner's release", async () => {
      await withStore(engine, networks, async store => {
        const preclaim = claim(NAME, "a", "u");
        if (preclaim.kind === "claim") delete preclaim.claim.sandbox;
        await attach(store, preclaim);
        assert.deepEqual(await commitOne(store, release("a", "s1", { ownerUid: "other" })), {
          released: false,
          reason: "not_found",
        });
        assert.deepEqual(await commitOne(store, release("b", "s1", { ownerUid: "u" })), {
          released: false,
          reason: "not_found",
        });
        assert.deepEqual(await commitOne(store, release("a", "s1", { ownerUid: "u" })), {
          released: true,
          name: NAME,
          deleted: true,
        });
      });
    });

    it("deletes a sticky port whose owner runs without it, unless it has been used", async () => {
      await withStore(engine, networks, async (store, clock) => {
        const release = { name: NAME, host: "a", ownerUid: "u", unused: true } as const;
        const commitUnused = () => commitOne(store, { kind: "release", caller: "test", release });
        const plugged = claim(NAME, "a", "u", sticky);
        const preclaim = claim(NAME, "a", "u", sticky);
        if (preclaim.kind === "claim") delete preclaim.claim.sandbox;
        await attach(store, preclaim);
        assert.deepEqual(await commitUnused(), { released: true, name: NAME, deleted: true });
        await attach(store, plugged);
        assert.deepEqual(await commitUnused(), { released: false, reason: "stale", name: NAME });
        await commitOne(store, {
          kind: "release",
          caller: "test",
          release: { host: "a", sandbox: { id: "u", interface: "eth0" } },
        });
        clock.pass(1);
        await attach(store, preclaim);
        assert.deepEqual(await commitUnused(), { released: true, name: NAME, deleted: false });
      });
    });

    it("keeps a binding that got its sandbox before an owner's release", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "a", "u", { sandbox: { id: "s1", interface: "eth0" } }));
        const byOwner = { host: "a", ownerUid: "u" };
        for (const [release, expected] of [
          [
            { name: NAME, ...byOwner },
            { released: false, reason: "stale", name: NAME },
          ],
          [byOwner, { released: false, reason: "not_found" }],
        ] as const) {
          assert.deepEqual(await commitOne(store, { kind: "release", caller: "test", release }), expected);
        }
        assert.equal((await store.readPort(NAME)).binding?.sandbox?.id, "s1");
      });
    });

    it("rebinds a pod's new sandbox, and ignores the old one's release", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "a", "u", { sandbox: { id: "s1", interface: "eth0" } }));
        const again = await attach(store, claim(NAME, "a", "u", { sandbox: { id: "s2", interface: "eth0" } }));
        assert.equal(again.port.epoch, 2);
        const late = release("a", "s1", { name: NAME, ownerUid: "u" });
        assert.deepEqual(await commitOne(store, late), { released: false, reason: "stale", name: NAME });
        assert.equal((await store.readPort(NAME)).binding?.sandbox?.id, "s2");
      });
    });

    it("rejects a late claim of the owner's earlier sandbox", async () => {
      await withStore(engine, networks, async store => {
        const at = (seconds: number) => new Date(START + seconds * 1000).toISOString();
        const attempt = (id: string, seconds: number, more: Partial<Claim> = {}) =>
          claim(NAME, "a", "u", { sandbox: { id, interface: "eth0" }, attemptedAt: at(seconds), ...more, ...sticky });
        const preclaim = attempt("none", 0);
        if (preclaim.kind === "claim") delete preclaim.claim.sandbox;
        for (const bind of [[attempt("s2", 20)], [preclaim, attempt("s2", 20)]]) {
          await store.commit(bind);
          refused(await commitOne(store, attempt("s1", 10)), "stale_owner", /bound to sandbox s2.*later than s1/);
          const { port } = await attach(store, attempt("s2", 20));
          assert.equal(port.binding?.sandbox?.id, "s2");
          await store.commit([release("a", "s2"), { kind: "deletePort", name: NAME, caller: "test" }]);
        }
        await attach(store, attempt("s2", 20));
        assert.equal((await attach(store, attempt("s3", 30))).port.epoch, 2);
        // Another host has another clock, an earlier program sends no time, and a clock may be set back.
        assert.equal((await attach(store, attempt("s4", 25, { host: "b" }))).port.binding?.host, "b");
        const { attemptedAt: _, ...untimed } = { ...(attempt("s5", 0, { host: "b" }) as { claim: Claim }).claim };
        await attach(store, { kind: "claim", caller: "test", claim: untimed });
        await attach(store, attempt("s6", 4000, { host: "b" }));
        assert.equal((await attach(store, attempt("s7", 0, { host: "b" }))).port.binding?.sandbox?.id, "s7");
        const wrong = claim(NAME, "b", "u", { attemptedAt: "soon" });
        refused(await commitOne(store, wrong), "invalid_request", /attemptedAt is "soon"/);
      });
    });

    it("rejects an older pod of the name, bound or not", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "b", "new", { owner: bornAt("new", 10), ...sticky }));
        refused(await commitOne(store, claim(NAME, "a", "old")), "stale_owner", /new/);
        await store.commit([release("b", "new")]);
        refused(await commitOne(store, claim(NAME, "a", "old")), "stale_owner");
      });
    });

    it("does not treat a pod of the same second as older", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "a", "one", { owner: bornAt("one", 5) }));
        const moved = await attach(store, claim(NAME, "b", "two", { owner: bornAt("two", 5) }));
        assert.deepEqual([moved.port.binding?.host, moved.port.epoch], ["b", 2]);
        const same = await attach(store, claim(NAME, "b", "two-again", { owner: bornAt("two", 4) }));
        assert.deepEqual([same.port.owner?.uid, same.port.epoch], ["two", 3]);
      });
    });

    it("protects a bound port whose name derives from labels", async () => {
      await withStore(engine, networks, async store => {
        const byLabels = { nameFrom: "labels", ...sticky } as const;
        await attach(store, claim(NAME, "a", "s1", byLabels));
        refused(
          await commitOne(store, claim(NAME, "b", "s2", { ...byLabels, owner: bornAt("s2", 9) })),
          "port_in_use",
          /host a/,
        );
        await store.commit([release("a", "s1")]);
        assert.equal((await attach(store, claim(NAME, "b", "s2", byLabels))).port.epoch, 2);
      });
    });

    it("admits only the reserved owners of a chosen name", async () => {
      await withStore(engine, networks, async store => {
        const chosen = (more: object) => claim("db", "a", "s1", { nameFrom: "reserved", cluster: "c1", ...more });
        refused(await commitOne(store, chosen({ namespace: "shop" })), "not_found", /mooringctl reserve db/);
        const reservation = { networkSelector: "env=test", ips: ["10.0.0.77"], allowedNamespaces: ["c1/shop"] };
        const reserve = { kind: "reserve", caller: "test", name: "db", reservation } as const;
        const made = await commitOne(store, reserve);
        assert.ok("created" in made && made.created);
        const repeated = await commitOne(store, reserve);
        assert.ok("created" in repeated && !repeated.created);
        refused(await commitOne(store, chosen({ namespace: "other" })), "forbidden", /c1\/shop/);
        refused(await commitOne(store, claim("db", "a", "s1")), "forbidden");
        const taken = await attach(store, chosen({ namespace: "shop" }));
        assert.equal(addressesOf(taken)[0], "10.0.0.77");
        refused(await commitOne(store, { kind: "deletePort", name: "db", caller: "test" }), "port_in_use", /release/);
        assert.deepEqual(await commitOne(store, release("a", "s1")), { released: true, name: "db", deleted: false });
        const other = { ...reserve, reservation: { ...reservation, ips: ["10.0.0.78"] } };
        refused(await commitOne(store, other), "conflict", /delete/);
        await attach(store, claim("plain", "a", "s9"));
        refused(
          await commitOne(store, claim("plain", "a", "s9", { nameFrom: "reserved" })),
          "forbidden",
          /not reserved/,
        );
      });
    });

    it("admits no more namespaces when a name is reserved again without them", async () => {
      await withStore(engine, networks, async store => {
        const reserve = async (name: string, more: Partial<PortReservation> = {}) => {
          const reservation = { networkSelector: "env=test", ...more };
          await commitOne(store, { kind: "reserve", caller: "test", name, reservation });
          return (await store.readPort(name)).reservation;
        };
        const first = { allowedNamespaces: ["c1/shop"], deviceOwner: "compute:vm" };
        assert.deepEqual(await reserve("db", first), first);
        assert.deepEqual(await reserve("db"), first);
        assert.deepEqual(await reserve("db", { labels: { a: "1" } }), first);
        assert.deepEqual(await reserve("db", { allowedNamespaces: ["*"] }), { ...first, allowedNamespaces: ["*"] });
        await attach(store, claim("kept", "a", "k", { cluster: "c1", namespace: "shop", ...sticky }));
        assert.deepEqual(await reserve("kept"), { allowedNamespaces: ["c1/shop"] });
        assert.deepEqual(await reserve("new"), { allowedNamespaces: ["*"] });
      });
    });

    it("applies a report only in its epoch, and writes events only for changes", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "a", "s1", sticky));
        const report = (epoch: number) =>
          ({
            kind: "report",
            caller: "test",
            report: { name: NAME, epoch, plane: "underlay", state: "ACTIVE" },
          }) as const;
        assert.deepEqual(await commitOne(store, report(0)), { applied: false, reason: "stale" });
        assert.deepEqual(await store.commit([report(1), report(1)]), [{ applied: true }, { applied: true }]);
        assert.equal((await store.readPort(NAME)).state, "ACTIVE_ACTIVE");
        assert.equal((await store.readEvents({ type: ["port.state"] })).events.length, 1);
        await store.commit([release("a", "s1")]);
        assert.deepEqual(await commitOne(store, report(1)), { applied: false, reason: "stale" });
      });
    });

    it("rejects or reallocates a port whose network no longer matches", async () => {
      const two = [
        ...networks,
        network("far", 11, [{ cidr: "10.9.0.0/24" }], { availabilityZone: "az2" }, { env: "far" }),
      ];
      await withStore(engine, two, async store => {
        const far = { networkSelector: "env=far", ...sticky };
        const before = await attach(store, claim(NAME, "a", "s1", far));
        const here = { owner: bornAt("s2", 1), availabilityZone: "az1", ...sticky };
        refused(
          await commitOne(store, claim(NAME, "b", "s2", { ...here, networkSelector: "env=far" })),
          "network_unreachable",
          /az2/,
        );
        refused(await commitOne(store, claim(NAME, "b", "s2", here)), "no_matching_network", /env=test/);
        const moved = await attach(store, claim(NAME, "b", "s2", { ...here, onMismatch: "reallocate" }));
        assert.deepEqual([moved.port.network, moved.port.id], ["net", before.port.id]);
        assert.notEqual(moved.port.mac, before.port.mac);
        const [event] = (await store.readEvents({ type: ["port.reallocated"], ip: addressesOf(before)[0] ?? "" }))
          .events;
        assert.deepEqual(event?.addresses, addressesOf(moved));
      });
    });

    it("deletes an unbound sticky port when its TTL ends", async () => {
      await withStore(engine, networks, async (store, clock) => {
        const brief = { retention: { policy: "sticky", ttlSeconds: 60 } } as const;
        await attach(store, claim(NAME, "a", "s1", brief));
        clock.pass(120_000);
        assert.equal(await store.collectExpired(), 0);
        await store.commit([release("a", "s1")]);
        clock.pass(59_999);
        assert.equal(await store.collectExpired(), 0);
        clock.pass(1);
        assert.equal(await store.collectExpired(), 1);
        await assert.rejects(store.readPort(NAME), { code: "not_found" });
      });
    });

    it("deletes a port only if the precondition still holds", async () => {
      await withStore(engine, networks, async store => {
        const { port } = await attach(store, claim(NAME, "a", "s1", sticky));
        const remove = (precondition: object) =>
          commitOne(store, { kind: "deletePort", name: NAME, precondition, caller: "test" });
        refused(await remove({ id: port.id, epoch: 1 }), "conflict", /bound/);
        await store.commit([release("a", "s1")]);
        refused(await remove({ epoch: 7 }), "conflict", /epoch 1/);
        refused(await remove({ id: "another" }), "conflict");
        assert.ok("deleted" in (await remove({ id: port.id, epoch: 1 })));
      });
    });

    it("fails one bad item of a batch alone", async () => {
      await withStore(engine, networks, async store => {
        const outcomes = await store.commit([
          claim("one", "a", "s1"),
          claim("two", "a", "s2", { networkSelector: "env in (" }),
          claim("three", "a", "s3", { ips: ["10.0.0.1"] }),
          claim("four", "a", "s4"),
        ]);
        refused(outcomes[1], "invalid_request", /position/);
        refused(outcomes[2], "invalid_request", /gateway/);
        const { ports } = await store.readPorts({});
        assert.deepEqual(
          ports.map(({ name }) => name),
          ["four", "one"],
        );
      });
    });
  });
}
