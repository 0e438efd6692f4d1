import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { attached, Clock, claim, REUSE_DELAY_MS } from "../support/builders.ts";
import { Model } from "../support/model.ts";
import { Random } from "../support/random.ts";
import { CROWDED_NETWORKS, makeItem } from "../support/random-work.ts";
import type { Engine } from "./engine.ts";

const ITEMS = 10_000;
const MAX_BATCH = 40;
const MAX_STEP_MS = 9_000;
/** Set it to a printed seed to see that run again. */
const FIXED_SEED: number | undefined = undefined;

export function testRandomWork(engine: Engine): void {
  describe(`${engine.name}: random work`, () => {
    it("stays consistent over 10,000 calls with crashes on nearly full pools", async t => {
      const seed = FIXED_SEED ?? Math.floor(Math.random() * 2 ** 32);
      t.diagnostic(`seed ${seed}`);
      const random = new Random(seed);
      const clock = new Clock();
      const model = new Model(REUSE_DELAY_MS);
      await using database = await engine.createDatabase();
      const open = () => database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: clock.read });
      let store = await open();
      for (const manifest of CROWDED_NETWORKS) await store.putNetwork(manifest, "test");
      let crashes = 0;

      for (let serial = 100, left = ITEMS; left > 0; ) {
        const batch = Array.from({ length: Math.min(left, 1 + random.below(MAX_BATCH)) }, () =>
          makeItem(random, model, serial++),
        );
        const failing = random.chance(0.1) ? random.pick(engine.steps) : undefined;
        database.failAt(failing);
        try {
          model.apply(batch, await store.commit(batch), clock.now);
          left -= batch.length;
        } catch (error) {
          if (error instanceof assert.AssertionError || failing === undefined) throw error;
        }
        database.failAt(undefined);
        if (random.chance(0.03)) {
          crashes++;
          await database.crash();
          store = await open();
          await model.compare(store);
        }
        clock.pass(random.below(MAX_STEP_MS));
      }

      await model.compare(store);
      t.diagnostic(`${crashes} crashes; ${JSON.stringify(Object.fromEntries(model.seen))}`);
      await emptyAndFill(store, model, clock);
      await store[Symbol.asyncDispose]();
    });
  });
}

/** After all ports are released and the reuse delay is over, exactly the pools' sizes can be assigned again. */
async function emptyAndFill(store: Store, model: Model, clock: Clock): Promise<void> {
  for (const name of model.ports.keys()) {
    const { binding, inactiveBinding } = await store.readPort(name);
    for (const each of [binding, inactiveBinding]) {
      if (!each) continue;
      const { host, ownerUid, sandbox } = each;
      const release = { name, host, ownerUid, ...(sandbox && { sandbox }) };
      await store.commit([{ kind: "release", caller: "test", release }]);
    }
    await store.commit([{ kind: "deletePort", name, caller: "test" }]);
  }
  clock.pass(REUSE_DELAY_MS);
  const subnets = (await store.readNetworks()).flatMap(network => network.subnets);
  const single = subnets.filter(({ cidr }) => !cidr.startsWith("fd00:3:"));
  const sizes = { ipv4: 0, ipv6: 0 };
  for (const { ipVersion, usage } of single) sizes[ipVersion === 4 ? "ipv4" : "ipv6"] += Number(usage.size);
  for (const family of ["ipv4", "ipv6"] as const) {
    // The dual-stack network's IPv6 addresses count too: the claim asks for one family only.
    const size =
      sizes[family] +
      subnets
        .filter(s => s.cidr.startsWith("fd00:3:") && family === "ipv6")
        .reduce((n, s) => n + Number(s.usage.size), 0);
    const outcomes = await store.commit(
      Array.from({ length: size + 1 }, (_, index) =>
        claim(`fill-${family}-${index}`, "a", `fill-${family}-${index}`, { families: [family] }),
      ),
    );
    for (const outcome of outcomes.slice(0, size)) attached(outcome);
    const last = outcomes.at(-1);
    assert.ok(last && "problem" in last, "more addresses than there are");
    assert.equal(last.problem.code, "no_address_available");
  }
  assert.deepEqual(await store.check(), []);
}
