import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { attached, Clock, claim, REUSE_DELAY_MS } from "../support/builders.ts";
import { Random, readSeeds } from "../support/random.ts";
import { assertSame } from "../support/simulation/assert-same.ts";
import { changeDeclaration, declareAgain } from "../support/simulation/declarations.ts";
import { Model } from "../support/simulation/model.ts";
import { makeItem } from "../support/simulation/random-work.ts";
import type { Engine } from "./engine.ts";

const SEEDS = 10;
/** Of each seed. */
const ITEMS = 1000;
const MAX_BATCH = 40;
const MAX_STEP_MS = 9_000;
const DAY_MS = 86_400_000;
const JUMPS_MS = [DAY_MS, 400 * DAY_MS, -DAY_MS, -400 * DAY_MS];

export function testRandomWork(engine: Engine): void {
  describe(`${engine.name}: random work`, () => {
    it("keeps every promise in 10,000 calls, over crashes, clock jumps and declarations", async t => {
      const seeds = readSeeds(SEEDS);
      t.diagnostic(`seeds ${seeds.at(0)} to ${seeds.at(-1)} (MOORING_TEST_SEED repeats one)`);
      const seen = new Map<string, number>();
      const failed: Error[] = [];
      for (const seed of seeds) {
        try {
          for (const [what, count] of await workOnce(engine, seed)) {
            seen.set(what, (seen.get(what) ?? 0) + count);
          }
        } catch (cause) {
          failed.push(new Error(`seed ${seed}`, { cause }));
        }
      }
      t.diagnostic(JSON.stringify(Object.fromEntries([...seen].sort())));
      const reasons = failed.map(({ message, cause }) => `${message}: ${cause}`);
      if (failed.length > 0) throw new AggregateError(failed, reasons.join("\n"));
    });
  });
}

/** Returns how many answers of each sort there were. */
async function workOnce(engine: Engine, seed: number): Promise<Map<string, number>> {
  const random = new Random(seed);
  const clock = new Clock();
  const model = new Model(REUSE_DELAY_MS);
  await using database = await engine.createDatabase();
  const open = () => database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: clock.read });
  let store = await open();
  await declareAgain(store, model, clock.now);
  /** How far the clock is from where it would be. */
  let aheadMs = 0;

  const crash = async () => {
    await database.crash();
    store = await open();
    await assertSame(model, store);
    model.count("crash");
  };
  const jump = async () => {
    const jumpMs = aheadMs !== 0 && random.chance(0.7) ? -aheadMs : random.pick(JUMPS_MS);
    const isSeen = random.chance(0.5);
    aheadMs += jumpMs;
    clock.pass(jumpMs);
    if (!isSeen) {
      await database.crash();
      store = await open();
    }
    model.correctWaits(jumpMs, isSeen, clock.now);
    await expire(store, model, clock, isSeen ? jumpMs : 0);
  };

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
    if (random.chance(0.2)) await changeDeclaration(random, store, model, clock.now);
    if (random.chance(0.2)) await expire(store, model, clock);
    if (random.chance(0.05)) await jump();
    if (random.chance(0.03)) await crash();
    clock.pass(random.below(MAX_STEP_MS));
  }

  await assertSame(model, store);
  await declareAgain(store, model, clock.now);
  await fillAll(store, clock);
  await store[Symbol.asyncDispose]();
  return model.seen;
}

/** What the server does every minute, and with `jumpMs` at its start and when the clock was set. */
async function expire(store: Store, model: Model, clock: Clock, jumpMs?: number): Promise<void> {
  let deleted = await store.collectExpired(jumpMs);
  for (let more = deleted; more > 0; deleted += more) more = await store.collectExpired();
  model.expire(deleted, clock.now);
}

/** After all ports are deleted and the reuse delay is over, exactly the pools' sizes can be assigned again. */
async function fillAll(store: Store, clock: Clock): Promise<void> {
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
