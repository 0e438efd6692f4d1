import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Activation, Claim } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  bornAt,
  claim,
  commitOne,
  leaseClaim,
  network,
  refused,
  release,
  slotClaim,
} from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NAME = "c1/default/vm-0";
const sticky = { retention: { policy: "sticky" } } as const;
const networks = [network("net", 10, [{ cidr: "10.0.0.0/24", gateway: "10.0.0.1" }, { cidr: "fd00:1::/64" }])];
const migration = { id: "m1" };

const source = (more: Partial<Claim> = {}): Mutation => claim(NAME, "a", "src", { ...sticky, ...more });
const target = (more: Partial<Claim> = {}): Mutation =>
  claim(NAME, "b", "dst", { owner: bornAt("dst", 10), migration, ...sticky, ...more });
const activate = (more: Partial<Activation> = {}): Mutation => ({
  kind: "activate",
  caller: "test",
  activation: { name: NAME, host: "b", ...more },
});

/** The hosts and epochs of both bindings. */
async function bindingsOf(store: Store): Promise<string> {
  const { binding, inactiveBinding, epoch } = await store.readPort(NAME);
  const active = binding ? `ACTIVE ${binding.host} ${epoch}` : `unbound ${epoch}`;
  return inactiveBinding ? `${active}, INACTIVE ${inactiveBinding.host} ${inactiveBinding.epoch}` : active;
}

async function readEvents(store: Store): Promise<string[]> {
  const { events } = await store.readEvents({ port: NAME });
  return events.map(({ type, host, epoch, sandboxId, ownerUid }) => [type, host, epoch, sandboxId, ownerUid].join(" "));
}

export function testInactiveBindings(engine: Engine): void {
  describe(`${engine.name}: bindings of a live migration`, () => {
    it("gives the target the port's addresses, MAC and an epoch of its own", async () => {
      await withStore(engine, networks, async store => {
        const first = await attach(store, source());
        const second = await attach(store, target());
        assert.equal(second.inactive, true);
        assert.deepEqual([addressesOf(second), second.port.mac], [addressesOf(first), first.port.mac]);
        assert.deepEqual(second.port.binding, first.port.binding);
        assert.deepEqual([second.port.epoch, second.port.owner?.uid], [1, "src"]);
        const { host, ownerUid, sandbox, epoch, migration } = second.port.inactiveBinding ?? assert.fail();
        assert.deepEqual([host, ownerUid, sandbox?.id, epoch, migration.id], ["b", "dst", "dst", 2, "m1"]);
      });
    });

    it("answers the target's repeated claim alike and writes no event", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, source());
        const first = await attach(store, target());
        const { lastSeq } = await store.readEvents({});
        assert.deepEqual(await attach(store, target()), first);
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
      });
    });

    it("completes a target's pre-claim with its sandbox in the same epoch", async () => {
      await withStore(engine, networks, async store => {
        await attach(store, source());
        const preclaim = target();
        if (preclaim.kind === "claim") delete preclaim.claim.sandbox;
        assert.equal((await attach(store, preclaim)).port.inactiveBinding?.sandbox, undefined);
        const { inactiveBinding } = (await attach(store, target())).port;
        assert.deepEqual([inactiveBinding?.epoch, inactiveBinding?.sandbox?.id], [2, "dst"]);
        assert.equal((await attach(store, preclaim)).port.inactiveBinding?.sandbox?.id, "dst");
      });
    });

    it("makes the target ACTIVE and ends the source's binding", async () => {
      await withStore(engine, networks, async store => {
        const before = await attach(store, source());
        await attach(store, target());
        const after = await attach(store, activate({ epoch: 2 }));
        assert.equal(after.inactive, undefined);
        assert.deepEqual([addressesOf(after), after.port.id], [addressesOf(before), before.port.id]);
        assert.equal(await bindingsOf(store), "ACTIVE b 3");
        assert.deepEqual([after.port.owner?.uid, after.port.binding?.sandbox?.id], ["dst", "dst"]);
        refused(await commitOne(store, source({ sandbox: { id: "late", interface: "eth0" } })), "stale_owner");
        const late = release("a", "src", { name: NAME });
        assert.deepEqual(await commitOne(store, late), { released: false, reason: "stale", name: NAME });
        const { events } = await store.readEvents({ type: ["port.moved"] });
        assert.deepEqual([events[0]?.fromHost, events[0]?.host, events[0]?.epoch], ["a", "b", 3]);
      });
    });

    it("answers a repeated activation and the target's later claims alike", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target()]);
        const first = await attach(store, activate({ epoch: 2 }));
        const { lastSeq } = await store.readEvents({});
        assert.deepEqual(await attach(store, activate({ epoch: 2 })), first);
        assert.deepEqual(await attach(store, target()), first);
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
      });
    });

    it("does not activate what another host has, or another epoch", async () => {
      await withStore(engine, networks, async store => {
        refused(await commitOne(store, activate()), "not_found", /no port/);
        await store.commit([source(), target()]);
        refused(await commitOne(store, activate({ host: "c" })), "not_found", /ACTIVE on a, INACTIVE on b/);
        refused(await commitOne(store, activate({ epoch: 1 })), "conflict", /epoch 2/);
        assert.equal(await bindingsOf(store), "ACTIVE a 1, INACTIVE b 2");
      });
    });

    it("drops the target without a change to the source, and reuses no epoch", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target()]);
        const dropped = await commitOne(store, release("b", "dst"));
        assert.deepEqual(dropped, { released: true, name: NAME, deleted: false });
        assert.equal(await bindingsOf(store), "ACTIVE a 1");
        const again = await attach(store, target({ migration: { id: "m2" } }));
        assert.equal(again.port.inactiveBinding?.epoch, 3);
        await assertHealthy(store);
      });
    });

    it("drops a target that has no sandbox yet by its owner's release", async () => {
      await withStore(engine, networks, async store => {
        const preclaim = target();
        if (preclaim.kind === "claim") delete preclaim.claim.sandbox;
        await store.commit([source(), preclaim]);
        const byOwner = { kind: "release", caller: "test", release: { host: "b", ownerUid: "dst" } } as const;
        assert.deepEqual(await commitOne(store, byOwner), { released: true, name: NAME, deleted: false });
        assert.equal(await bindingsOf(store), "ACTIVE a 1");
      });
    });

    it("keeps the addresses for the target when the source is released first", async () => {
      await withStore(engine, networks, async (store, clock) => {
        const ephemeral = { retention: { policy: "ephemeral" } } as const;
        const before = await attach(store, source(ephemeral));
        await attach(store, target(ephemeral));
        const released = await commitOne(store, release("a", "src"));
        assert.deepEqual(released, { released: true, name: NAME, deleted: false });
        assert.equal(await bindingsOf(store), "unbound 1, INACTIVE b 2");
        refused(await commitOne(store, { kind: "deletePort", name: NAME, caller: "test" }), "port_in_use", /host b/);
        clock.pass(1_000_000);
        assert.equal(await store.collectExpired(), 0);
        assert.equal((await attach(store, target(ephemeral))).inactive, true);
        const after = await attach(store, activate());
        assert.deepEqual(addressesOf(after), addressesOf(before));
        assert.equal(await bindingsOf(store), "ACTIVE b 3");
        assert.deepEqual(await commitOne(store, release("b", "dst")), { released: true, name: NAME, deleted: true });
      });
    });

    it("ends the retention only after both bindings have ended", async () => {
      await withStore(engine, networks, async (store, clock) => {
        const brief = { retention: { policy: "sticky", ttlSeconds: 60 } } as const;
        await store.commit([source(brief), target(brief), release("a", "src")]);
        clock.pass(120_000);
        assert.equal(await store.collectExpired(), 0);
        assert.deepEqual(await commitOne(store, release("b", "dst")), { released: true, name: NAME, deleted: false });
        clock.pass(59_999);
        assert.equal(await store.collectExpired(), 0);
        clock.pass(1);
        assert.equal(await store.collectExpired(), 1);
      });
    });

    it("binds the target of an unbound or new port at once, ACTIVE", async () => {
      await withStore(engine, networks, async store => {
        const made = await attach(store, target());
        assert.deepEqual([made.inactive, made.port.binding?.host], [undefined, "b"]);
        await store.commit([release("b", "dst")]);
        const bound = await attach(store, target({ migration: { id: "m2" } }));
        assert.deepEqual([bound.inactive, bound.port.binding?.host, bound.port.epoch], [undefined, "b", 2]);
      });
    });

    it("replaces the target of an earlier migration, not that of a later one", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target()]);
        const next = claim(NAME, "c", "next", { owner: bornAt("next", 20), migration: { id: "m2" }, ...sticky });
        assert.equal((await attach(store, next)).port.inactiveBinding?.host, "c");
        refused(await commitOne(store, target()), "stale_owner", /next/);
        assert.equal(await bindingsOf(store), "ACTIVE a 1, INACTIVE c 3");
        assert.deepEqual(await commitOne(store, release("b", "dst", { name: NAME })), {
          released: false,
          reason: "stale",
          name: NAME,
        });
      });
    });

    it("keeps the target when the source gets a new sandbox", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target(), source({ sandbox: { id: "src2", interface: "eth0" } })]);
        assert.equal(await bindingsOf(store), "ACTIVE a 3, INACTIVE b 2");
        assert.equal((await attach(store, activate({ epoch: 2 }))).port.epoch, 4);
      });
    });

    it("ends the target when another owner binds the port", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target()]);
        await attach(store, claim(NAME, "c", "restarted", { owner: bornAt("restarted", 30), ...sticky }));
        assert.equal(await bindingsOf(store), "ACTIVE c 3");
        refused(await commitOne(store, activate()), "not_found");
        const ended = (await readEvents(store)).filter(text => text.startsWith("port.inactive"));
        assert.deepEqual(ended, ["port.inactive-bound b 2 dst dst", "port.inactive-released b 2 dst dst"]);
      });
    });

    it("ends the target when a plain claim of its own pod takes the port", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target()]);
        const plain = claim(NAME, "b", "dst", { owner: bornAt("dst", 10), ...sticky });
        const { inactive, port } = await attach(store, plain);
        assert.deepEqual([inactive, port.binding?.host, port.inactiveBinding], [undefined, "b", undefined]);
        await assertHealthy(store);
      });
    });

    it("lets a machine with one uid on both hosts migrate, and back", async () => {
      await withStore(engine, networks, async store => {
        const reservation = { networkSelector: "env=test", ips: ["10.0.0.9"] };
        await commitOne(store, { kind: "reserve", name: NAME, reservation, caller: "nova" });
        const at = (host: string, more: Partial<Claim> = {}) =>
          claim(NAME, host, "7d1e", {
            owner: { ...bornAt("7d1e", 0), kind: "vm" },
            sandbox: { id: `tap-${host}`, interface: "eth0" },
            nameFrom: "reserved",
            ...more,
          });
        await attach(store, at("a"));
        for (const [host, from] of [
          ["b", "a"],
          ["a", "b"],
        ] as const) {
          assert.equal((await attach(store, at(host, { migration: { id: `to-${host}` } }))).inactive, true);
          assert.equal(addressesOf(await attach(store, activate({ host })))[0], "10.0.0.9");
          await commitOne(store, release(from, `tap-${from}`, { name: NAME }));
        }
        assert.equal(await bindingsOf(store), "ACTIVE a 5");
      });
    });

    it("admits as target only who may claim the port", async () => {
      await withStore(engine, networks, async store => {
        const workload = (kind: "VirtualMachine" | "StatefulSet") => ({ kind, namespace: "default", name: "vm-0" });
        const machine = { workload: workload("VirtualMachine") };
        await attach(store, source(machine));
        const pod = target({ workload: workload("StatefulSet") });
        refused(await commitOne(store, pod), "port_in_use", /VirtualMachine/);
        refused(await commitOne(store, target({ ...machine, nameFrom: "labels" })), "port_in_use", /another name/);
        refused(await commitOne(store, target({ ...machine, owner: bornAt("dst", -5) })), "stale_owner");
        refused(await commitOne(store, target({ ...machine, host: "a" })), "conflict", /another host/);
        refused(await commitOne(store, target({ ...machine, networkSelector: "env=other" })), "no_matching_network");
        assert.equal(await bindingsOf(store), "ACTIVE a 1");
      });
    });

    it("rejects a migration of a slot, of a lease and with a leased address", async () => {
      await withStore(engine, networks, async store => {
        for (const item of [
          slotClaim("c1/shop/web", "b", "dst", { migration }),
          leaseClaim("b", "1", { migration }),
          target({ leasedPort: "lease:b/1", retention: { policy: "ephemeral" } }),
        ]) {
          refused(await commitOne(store, item), "invalid_request", /migration/);
        }
      });
    });

    it("ignores reports that name the INACTIVE binding's epoch", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target()]);
        const report = { name: NAME, epoch: 2, plane: "underlay", state: "ERROR" } as const;
        const outcome = await commitOne(store, { kind: "report", report, caller: "test" });
        assert.deepEqual(outcome, { applied: false, reason: "stale" });
      });
    });

    it("lists the port among those of both hosts", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([source(), target(), claim("c1/default/other", "c", "o")]);
        for (const host of ["a", "b"]) {
          for (const query of [
            { host },
            { host, name: NAME },
            { host, ip: "10.0.0.2" },
            { host, mac: "0a:58:0a:00:00:02" },
          ]) {
            const { ports } = await store.readPorts(query);
            assert.deepEqual(
              ports.map(({ name }) => name),
              [NAME],
              JSON.stringify(query),
            );
          }
        }
      });
    });
  });
}
