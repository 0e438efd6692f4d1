import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Store } from "../../../ipam-server/domain/store.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  attached,
  claim,
  commitOne,
  network,
  refused,
  release,
  slotClaim,
} from "../support/builders.ts";
import { Random } from "../support/random.ts";
import { Rollout } from "../support/rollout.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const APP = "c1/shop/web";
const networks = [network("net", 10, [{ cidr: "10.0.0.0/24" }])];
const ZONES = [
  network("one", 10, [{ cidr: "10.0.0.0/24" }], { availabilityZone: "az1" }),
  network("two", 11, [{ cidr: "10.0.1.0/24" }], { availabilityZone: "az2" }),
];
/** Set it to a printed seed to see that run again. */
const FIXED_SEED: number | undefined = undefined;
const ROUNDS = 40;
const MAX_STEPS = 2000;

const names = async (store: Store) =>
  (await store.readPorts({ limit: 1000 })).ports.map(({ name, binding }) => `${name}${binding ? "" : " free"}`);
const pick = async (store: Store, ...args: Parameters<typeof slotClaim>) =>
  (await attach(store, slotClaim(...args))).port.name;

export function testSlots(engine: Engine): void {
  describe(`${engine.name}: slots`, () => {
    it("assigns the lowest slots, and the same again to a repeated claim", async () => {
      await withStore(engine, networks, async store => {
        const batch = ["p", "q", "p", "r"].map(uid => slotClaim(APP, "a", uid));
        const outcomes = (await store.commit(batch)).map(attached);
        const got = outcomes.map(({ port }) => [port.name, port.slot, port.epoch]);
        const zero = [`${APP}/0`, 0, 1];
        assert.deepEqual(got, [zero, [`${APP}/1`, 1, 1], zero, [`${APP}/2`, 2, 1]]);
        const { lastSeq } = await store.readEvents({});
        assert.deepEqual(attached((await store.commit([slotClaim(APP, "a", "q")]))[0]), outcomes[1]);
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
        assert.equal((await store.readPort(`${APP}/2`)).slot, 2);
      });
    });

    it("passes a released slot with its address to the next pod", async () => {
      await withStore(engine, networks, async store => {
        const old = await attach(store, slotClaim(APP, "a", "old"));
        await attach(store, slotClaim(APP, "a", "other"));
        const [, outcome] = await store.commit([
          release("a", "old"),
          slotClaim(APP, "b", "new", { owner: { kind: "pod", uid: "new", createdAt: "2020-01-01T00:00:00.000Z" } }),
        ]);
        const next = attached(outcome);
        assert.deepEqual([next.port.slot, next.port.epoch, addressesOf(next)], [0, 2, addressesOf(old)]);
        assert.deepEqual(await commitOne(store, release("a", "old")), { released: false, reason: "not_found" });
      });
    });

    it("returns a pod to its own slot although a lower one is free", async () => {
      await withStore(engine, networks, async store => {
        await store.commit(["p", "q", "r"].map(uid => slotClaim(APP, "a", uid)));
        await store.commit([release("a", "p"), release("a", "r")]);
        const left = await attach(store, slotClaim(APP, "a", "r", { sandbox: { id: "r2", interface: "eth0" } }));
        assert.deepEqual([left.port.slot, left.port.epoch], [2, 2]);
        const killed = await attach(store, slotClaim(APP, "a", "q", { sandbox: { id: "q2", interface: "eth0" } }));
        assert.deepEqual([killed.port.slot, killed.port.epoch], [1, 2]);
      });
    });

    it("fills gaps from below, including those of the same batch", async () => {
      await withStore(engine, networks, async store => {
        await store.commit(["p", "q", "r", "s"].map(uid => slotClaim(APP, "a", uid)));
        await store.commit([
          release("a", "q"),
          { kind: "deletePort", name: `${APP}/1`, caller: "t" },
          release("a", "r"),
        ]);
        assert.deepEqual(
          [await pick(store, APP, "a", "t"), await pick(store, APP, "a", "u"), await pick(store, APP, "a", "v")],
          [`${APP}/1`, `${APP}/2`, `${APP}/4`],
        );
        const deletion = { kind: "deletePort", name: `${APP}/0`, caller: "t" } as const;
        const outcomes = await store.commit([release("a", "p"), deletion, slotClaim(APP, "a", "w")]);
        assert.equal(attached(outcomes[2]).port.slot, 0);
      });
    });

    it("separates the slots of applications and interfaces", async () => {
      await withStore(engine, networks, async store => {
        const net1 = { slotOf: { application: APP, interface: "net1" } };
        const got = (
          await store.commit([
            slotClaim(APP, "a", "p"),
            slotClaim(APP, "a", "p", { ...net1, sandbox: { id: "p", interface: "net1" } }),
            slotClaim(`${APP}2`, "a", "q"),
            slotClaim(`${APP}/0`, "a", "r"),
            slotClaim(APP, "a", "s", { ...net1, sandbox: { id: "s", interface: "net1" } }),
          ])
        ).map(outcome => attached(outcome).port.name);
        assert.deepEqual(got, [`${APP}/0`, `${APP}/0/net1`, `${APP}2/0`, `${APP}/0/0`, `${APP}/1/net1`]);
      });
    });

    it("skips another port's name, and assigns no slot by name", async () => {
      await withStore(engine, networks, async store => {
        await store.commit([
          claim(`${APP}/0`, "a", "named", { retention: { policy: "sticky" } }),
          { kind: "reserve", name: `${APP}/2`, caller: "t", reservation: { networkSelector: "" } },
        ]);
        await store.commit([release("a", "named")]);
        const batch = [
          slotClaim(APP, "a", "p"),
          claim(`${APP}/3`, "a", "n"),
          slotClaim(APP, "a", "q"),
          slotClaim(APP, "a", "r"),
        ];
        const outcomes = await store.commit(batch);
        assert.deepEqual(
          outcomes.map(outcome => attached(outcome).port.name),
          [1, 3, 4, 5].map(number => `${APP}/${number}`),
        );
        for (const nameFrom of ["pod", "labels"] as const) {
          const thief = claim(`${APP}/4`, "a", "thief", { nameFrom });
          refused(await commitOne(store, thief), "port_in_use", /slot 4/);
          await store.commit([release("a", "q")]);
          refused(await commitOne(store, thief), "port_in_use");
        }
        assert.equal((await attach(store, claim(`${APP}/5`, "a", "r"))).port.slot, 5);
      });
    });

    it("skips a free slot that the host cannot use", async () => {
      await withStore(engine, ZONES, async store => {
        const inZone = (availabilityZone: string) => ({ availabilityZone });
        const taken = ["p", "q"].map(uid => slotClaim(APP, "a", uid, inZone("az1")));
        await store.commit([...taken, release("a", "p"), release("a", "q")]);
        assert.equal(await pick(store, APP, "b", "r", inZone("az2")), `${APP}/2`);
        assert.equal(await pick(store, APP, "a", "s", inZone("az1")), `${APP}/0`);
        const both = ["t", "u"].map((uid, index) => slotClaim(APP, "b", uid, inZone(`az${2 - index}`)));
        const got = (await store.commit([release("b", "r"), ...both])).slice(1).map(o => attached(o).port.name);
        assert.deepEqual(got, [`${APP}/2`, `${APP}/1`]);
        const moving = slotClaim(APP, "b", "v", { ...inZone("az2"), onMismatch: "reallocate" });
        await store.commit([release("b", "u")]);
        const moved = await attach(store, moving);
        assert.deepEqual([moved.port.slot, moved.port.network], [1, "two"]);
      });
    });

    it("assigns a higher free slot on a full network", async () => {
      const tiny = [network("tiny", 10, [{ cidr: "10.0.0.0/30" }])];
      await withStore(engine, tiny, async store => {
        await store.commit([slotClaim(APP, "a", "p"), slotClaim(APP, "a", "q")]);
        await store.commit([release("a", "p"), { kind: "deletePort", name: `${APP}/0`, caller: "t" }]);
        await store.commit([release("a", "q")]);
        // The freed address still cools down.
        assert.equal(await pick(store, APP, "a", "r"), `${APP}/1`);
        refused(await commitOne(store, slotClaim(APP, "a", "s")), "no_address_available");
      });
    });

    it("rejects an invalid slot claim with its field, alone in its batch", async () => {
      await withStore(engine, networks, async store => {
        const faults = [
          [slotClaim(APP, "a", "p", { name: APP }), "slotOf", /both given/],
          [slotClaim(APP, "a", "p", { retention: { policy: "ephemeral" } }), "retention", /kept/],
          [slotClaim(APP, "a", "p", { nameFrom: "labels" }), "nameFrom", /leave nameFrom out/],
          [slotClaim("a".repeat(250), "a", "p"), "slotOf.application", /no room/],
          [slotClaim("lease:a/x", "a", "p"), "slotOf.application", /begins the names of leases/],
          [
            slotClaim(APP, "a", "p", { owner: { kind: "lease", uid: "p", createdAt: "2026-11-20T08:00:00Z" } }),
            "owner.kind",
            /by its name/,
          ],
          [slotClaim(APP, "a", "p", { networkSelector: "a in (" }), "networkSelector", /position/],
          [slotClaim(APP, "a", "p", { networkSelector: "env=none" }), "networkSelector", /no network/],
        ] as const;
        const nameless = claim("", "a", "p");
        if (nameless.kind === "claim") delete nameless.claim.name;
        refused(await commitOne(store, nameless), "invalid_request", /slotOf/);
        const outcomes = await store.commit([...faults.map(([item]) => item), slotClaim(APP, "a", "good")]);
        for (const [index, [, field, pattern]] of faults.entries()) {
          const outcome = outcomes[index];
          assert.ok(outcome && "problem" in outcome, JSON.stringify(outcome));
          assert.deepEqual([outcome.problem.field, pattern.test(outcome.problem.detail)], [field, true], field);
        }
        assert.equal(attached(outcomes.at(-1)).port.slot, 0);
        assert.deepEqual(await names(store), [`${APP}/0`]);
      });
    });

    it("assigns slots of two applications whose names of slots meet", async () => {
      await withStore(engine, networks, async store => {
        const inner = (uid: string) => slotClaim(`${APP}/0`, "a", uid);
        const outer = (uid: string) => slotClaim(APP, "a", uid, { slotOf: { application: APP, interface: "0" } });
        const outcomes = await store.commit([outer("p"), inner("q"), inner("r"), outer("s"), outer("t")]);
        assert.deepEqual(
          outcomes.map(outcome => attached(outcome).port.name.slice(APP.length)),
          ["/0/0", "/0/1", "/0/2", "/1/0", "/2/0"],
        );
      });
    });

    it("assigns a thousand slots, and the released one to the next pod", async () => {
      const wide = [network("wide", 10, [{ cidr: "10.0.0.0/16" }])];
      await withStore(engine, wide, async store => {
        const outcomes = await store.commit(Array.from({ length: 1000 }, (_, n) => slotClaim(APP, "a", `u${n}`)));
        const slots = outcomes.map(outcome => attached(outcome).port.slot);
        assert.deepEqual(
          slots,
          Array.from({ length: 1000 }, (_, n) => n),
        );
        await store.commit([release("a", "u400"), release("a", "u399")]);
        assert.equal(await pick(store, APP, "b", "next"), `${APP}/399`);
        assert.equal(await pick(store, APP, "b", "after"), `${APP}/400`);
        assert.equal(await pick(store, APP, "b", "last"), `${APP}/1000`);
      });
    });

    for (const maxSurge of [0, 1, 3]) {
      it(`keeps a Deployment's addresses over rollouts with a surge of ${maxSurge}`, async t => {
        const seed = FIXED_SEED ?? Math.floor(Math.random() * 2 ** 32);
        t.diagnostic(`seed ${seed}`);
        const random = new Random(seed);
        const wide = [network("wide", 10, [{ cidr: "10.0.0.0/20" }])];
        await withStore(engine, wide, async store => {
          const both = [
            new Rollout(APP, 4, maxSurge, random),
            new Rollout(`${APP}-2`, 2 + random.below(6), maxSurge, random),
          ];
          const before = new Map<Rollout, string[]>();
          for (let round = 0; round < ROUNDS; round++) {
            await settle(store, both, random);
            for (const rollout of both) {
              const addresses = await rollout.addresses(store);
              assert.ok(addresses.length <= rollout.mostAlive, `${addresses.length} slots`);
              assert.ok(addresses.length <= rollout.replicas + maxSurge);
              const known = before.get(rollout) ?? [];
              assert.deepEqual(
                known.filter(address => !addresses.includes(address)),
                [],
                "a rollout lost an address",
              );
              if (maxSurge === 0 && known.length > 0) assert.deepEqual(addresses, known);
              before.set(rollout, addresses);
              rollout.revision++;
            }
          }
          await assertHealthy(store);
        });
      });
    }
  });
}

/** Lets the Deployments act, in batches that mix their calls, until each has rolled out. */
async function settle(store: Store, rollouts: readonly Rollout[], random: Random): Promise<void> {
  for (let step = 0; rollouts.some(({ isDone }) => !isDone); step++) {
    assert.ok(step < MAX_STEPS, "the rollout never ends");
    const items = rollouts.flatMap(rollout => rollout.next());
    const split = random.below(items.length + 1);
    for (const batch of [items.slice(0, split), items.slice(split)]) {
      const outcomes = await store.commit(batch);
      for (const rollout of rollouts) rollout.apply(batch, outcomes);
    }
  }
}
