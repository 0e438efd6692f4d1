import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { addressesOf, attach, bornAt, claim, commitOne, network, refused, release } from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NAME = "c1/default/web-0";
const sticky = { retention: { policy: "sticky" } } as const;
const networks = [network("net", 10, [{ cidr: "10.0.0.0/24", gateway: "10.0.0.1" }, { cidr: "fd00:1::/64" }])];

export function testBindings(engine: Engine): void {
  describe(`${engine.name}: bindings`, () => {
    test("a pod that moves to another node keeps its port, addresses and MAC, and the epoch grows", async () => {
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

    test("the same claim again gets the same answer and writes no event", async () => {
      await withStore(engine, networks, async (store, clock) => {
        const first = await attach(store, claim(NAME, "a", "s1"));
        const { lastSeq } = await store.readEvents({});
        clock.pass(1000);
        assert.deepEqual(await attach(store, claim(NAME, "a", "s1")), first);
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
      });
    });

    test("only its own release fences the last binding", async () => {
      await withStore(engine, networks, async store => {
        assert.equal((await attach(store, claim(NAME, "a", "s1", sticky))).previousBindingReleased, true);
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

    test("a claim ahead of its sandbox is completed by the claim that brings it, in the same epoch", async () => {
      await withStore(engine, networks, async store => {
        const ahead = claim(NAME, "a", "u", {});
        if (ahead.kind === "claim") delete ahead.claim.sandbox;
        assert.equal((await attach(store, ahead)).port.binding?.sandbox, undefined);
        const full = await attach(store, claim(NAME, "a", "u", { sandbox: { id: "s1", interface: "eth0" } }));
        assert.deepEqual([full.port.epoch, full.port.binding?.sandbox?.id], [1, "s1"]);
        assert.deepEqual((await attach(store, ahead)).port, full.port);
        assert.deepEqual(await commitOne(store, release("a", "s1")), { released: true, name: NAME, deleted: true });
      });
    });

    test("a binding that never learned its sandbox is ended by its owner's release, named or not", async () => {
      await withStore(engine, networks, async store => {
        const ahead = claim(NAME, "a", "u");
        if (ahead.kind === "claim") delete ahead.claim.sandbox;
        await attach(store, ahead);
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

    test("an owner's release does not end a binding that has learned its sandbox since it was seen", async () => {
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

    test("a sandbox made anew for the same pod is a new binding, and the old sandbox's release changes nothing", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "a", "u", { sandbox: { id: "s1", interface: "eth0" } }));
        const again = await attach(store, claim(NAME, "a", "u", { sandbox: { id: "s2", interface: "eth0" } }));
        assert.equal(again.port.epoch, 2);
        const late = release("a", "s1", { name: NAME, ownerUid: "u" });
        assert.deepEqual(await commitOne(store, late), { released: false, reason: "stale", name: NAME });
        assert.equal((await store.readPort(NAME)).binding?.sandbox?.id, "s2");
      });
    });

    test("an older pod never gets the name back, bound or not", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "b", "new", { owner: bornAt("new", 10), ...sticky }));
        refused(await commitOne(store, claim(NAME, "a", "old")), "stale_owner", /new/);
        await store.commit([release("b", "new")]);
        refused(await commitOne(store, claim(NAME, "a", "old")), "stale_owner");
      });
    });

    test("a pod created in the same second as the bound one is not older, nor is the bound one itself whatever its time", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, claim(NAME, "a", "one", { owner: bornAt("one", 5) }));
        const moved = await attach(store, claim(NAME, "b", "two", { owner: bornAt("two", 5) }));
        assert.deepEqual([moved.port.binding?.host, moved.port.epoch], ["b", 2]);
        const same = await attach(store, claim(NAME, "b", "two-again", { owner: bornAt("two", 4) }));
        assert.deepEqual([same.port.owner?.uid, same.port.epoch], ["two", 3]);
      });
    });

    test("a machine and a pod of one name do not take the port from each other while it is bound", async () => {
      await withStore(engine, networks, async store => {
        const of = (kind: "StatefulSet" | "VirtualMachine") => ({
          workload: { kind, namespace: "default", name: "web" },
          retention: { policy: "sticky" } as const,
        });
        await attach(store, claim(NAME, "a", "machine", of("VirtualMachine")));
        const pod = claim(NAME, "b", "pod", { owner: bornAt("pod", 9), ...of("StatefulSet") });
        refused(await commitOne(store, pod), "port_in_use", /VirtualMachine web/);
        const untold = await attach(store, claim(NAME, "b", "untold", { owner: bornAt("untold", 9) }));
        assert.equal(untold.port.binding?.host, "b");
        await store.commit([release("b", "untold")]);
        assert.equal((await attach(store, pod)).port.workload?.kind, "StatefulSet");
      });
    });

    test("a pod of the same name takes no live address from a name made of labels or a reserved one, nor they from it", async () => {
      await withStore(engine, networks, async store => {
        const reservation = { networkSelector: "env=test" };
        await commitOne(store, { kind: "reserve", name: "db", reservation, caller: "test" });
        const sources = ["pod", "labels", "reserved"] as const;
        for (const first of sources) {
          await attach(store, claim("db", "a", "s1", { nameFrom: first, cluster: "c1" }));
          for (const second of sources.filter(source => source !== first)) {
            const newer = claim("db", "b", "s2", { nameFrom: second, cluster: "c1", owner: bornAt("s2", 60) });
            refused(await commitOne(store, newer), "port_in_use", /another name/);
          }
          assert.deepEqual(await commitOne(store, release("a", "s1")), { released: true, name: "db", deleted: false });
        }
      });
    });

    test("a name made from labels is nobody else's while it is bound", async () => {
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

    test("a chosen name must be reserved, and only those it is reserved for may claim it", async () => {
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

    test("a report counts in its own epoch only, and only a change is an event", async () => {
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

    test("a port whose network no longer matches or cannot be reached fails, or moves if told to", async () => {
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

    test("an unbound sticky port is collected when its time is over, not while it is bound", async () => {
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

    test("a port is deleted only as the one that was seen", async () => {
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

    test("one bad item of a batch fails alone", async () => {
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
