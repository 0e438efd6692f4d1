import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Claim } from "../../../ipam-server/contract/index.ts";
import { RECOVERY_LIMIT_MS } from "../../../ipam-server/domain/recovery/recovery-state.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { bornAt, Clock, claim, commitOne, network, REUSE_DELAY_MS, release } from "../support/builders.ts";
import { Random, readSeeds } from "../support/random.ts";
import type { Engine } from "./engine.ts";

/** Small, so that addresses are used again. */
const NET = network("net", 10, [{ cidr: "10.0.0.0/28" }]);
const SIZE = 14;
const HOSTS = ["a", "b", "c", "d"];
/** How many names there are of each kind that returns. */
const KEPT = 6;
const STEPS = 60;
const SEEDS = 3;
/** How often each agent compares. */
const ROUND_MS = 3000;

interface Plugged {
  host: string;
  /** What ADD asked for. */
  claim: Claim;
  ips: string[];
  /** The INACTIVE side of a migration. */
  isTarget: boolean;
}

/** What is plugged on the nodes, by sandbox: it survives the database. */
class World {
  readonly plugged = new Map<string, Plugged>();
  readonly #random: Random;
  readonly #clock: Clock;
  #serial = 0;

  constructor(random: Random, clock: Clock) {
    this.#random = random;
    this.#clock = clock;
  }

  /** A pod starts, moves, migrates or ends, or time passes. */
  async step(store: Store): Promise<void> {
    const roll = this.#random.next();
    if (roll < 0.55) await this.#start(store);
    else if (roll < 0.65) await this.#migrate(store);
    else if (roll < 0.85) await this.#end(store);
    else if (roll < 0.92) await this.#delete(store);
    else this.#clock.pass(this.#random.below(REUSE_DELAY_MS));
  }

  /** Returns the code of a refused start. */
  async #start(store: Store): Promise<void> {
    const uid = `u${++this.#serial}`;
    const kind = this.#random.below(4);
    const name = `c1/default/${["pod", "kept", "shard"][kind] ?? "pod"}-${kind === 1 || kind === 2 ? this.#random.below(KEPT) : uid}`;
    const sticky = kind === 1 || kind === 2;
    const more: Partial<Claim> = {
      owner: bornAt(uid, this.#serial),
      ...(sticky && { retention: { policy: "sticky" } }),
      ...(kind === 2 && { nameFrom: "labels" }),
    };
    await this.#claim(store, claim(name, this.#random.pick(HOSTS), uid, more));
  }

  async #claim(store: Store, item: ReturnType<typeof claim>): Promise<void> {
    assert.ok(item.kind === "claim");
    const outcome = await commitOne(store, item);
    if (!("port" in outcome) || !("segment" in outcome)) return;
    const { sandbox, name } = item.claim;
    const isTarget = outcome.inactive === true;
    for (const [id, other] of this.plugged) {
      // The former place of a moved port is fenced; a migration's source stays.
      if (other.claim.name === name && !isTarget) this.plugged.delete(id);
    }
    const ips = outcome.port.fixedIps.map(({ address }) => address);
    this.plugged.set(sandbox?.id ?? "", { host: item.claim.host, claim: item.claim, ips, isTarget });
  }

  async #migrate(store: Store): Promise<void> {
    const kept = [...this.plugged.values()].filter(({ claim, isTarget }) => claim.retention && !isTarget);
    if (kept.length === 0) return;
    const source = this.#random.pick(kept);
    const { name = "", nameFrom } = source.claim;
    if (nameFrom !== undefined || [...this.plugged.values()].some(each => each.isTarget && each.claim.name === name))
      return;
    const host = this.#random.pick(HOSTS.filter(each => each !== source.host));
    const uid = `u${++this.#serial}`;
    const more: Partial<Claim> = {
      owner: bornAt(uid, this.#serial),
      retention: { policy: "sticky" },
      migration: { id: uid },
    };
    await this.#claim(store, claim(name, host, uid, more));
  }

  async #end(store: Store): Promise<void> {
    if (this.plugged.size === 0) return;
    const [id, { host, claim: item, isTarget }] = this.#random.pick([...this.plugged]);
    // A source ends after its target.
    if (!isTarget && [...this.plugged.values()].some(each => each.isTarget && each.claim.name === item.name)) return;
    this.plugged.delete(id);
    await store.commit([release(host, id)]);
  }

  /** What is unbound: its address is another's after a while. */
  async #delete(store: Store): Promise<void> {
    const name = `c1/default/${this.#random.pick(["kept", "shard"])}-${this.#random.below(KEPT)}`;
    await store.commit([{ kind: "deletePort", name, caller: "test" }]);
  }

  /** One sweep of a host's agent: claims what is plugged, releases what is not, and reports. Returns the recovery's state. */
  async sweep(store: Store, host: string): Promise<unknown> {
    const { ports } = await store.readPorts({ host, limit: 1000 });
    const sandboxes = ports.flatMap(({ binding, inactiveBinding }) => [binding, inactiveBinding]);
    const bound = new Set(sandboxes.map(each => each?.host === host && each.sandbox?.id));
    const missing = [...this.plugged].filter(([id, each]) => each.host === host && !bound.has(id));
    const gone = sandboxes.filter(each => each?.host === host && !this.plugged.has(each.sandbox?.id ?? ""));
    const report = { kind: "report", report: { host, pending: missing.length + gone.length } } as const;
    const recovery = await store.changeRecovery(report, host);
    for (const each of gone) await store.commit([release(host, each?.sandbox?.id ?? "")]);
    for (const [, { claim: item, ips }] of missing) {
      await store.commit([{ kind: "claim", caller: host, claim: { ...item, ips, plugged: true } }]);
    }
    return recovery;
  }
}

export function testRandomRecovery(engine: Engine): void {
  describe(`${engine.name}: random backups`, () => {
    it("double and lose no address of a plugged pod when they are restored", async t => {
      const seeds = readSeeds(SEEDS);
      t.diagnostic(`seeds ${seeds.at(0)} to ${seeds.at(-1)} (MOORING_TEST_SEED repeats one)`);
      for (const seed of seeds) await restoreOnce(engine, seed);
    });
  });
}

async function restoreOnce(engine: Engine, seed: number): Promise<void> {
  const random = new Random(seed);
  const clock = new Clock();
  const world = new World(random, clock);
  await using database = await engine.createDatabase();
  const options = { reuseDelayMs: REUSE_DELAY_MS, clock: clock.read };
  const work = async (prepare: (store: Store) => Promise<unknown>) => {
    await using store = await database.open(options);
    await prepare(store);
    for (let step = 0; step < STEPS; step++) await world.step(store);
  };
  await work(store => store.putNetwork(NET, "test"));
  const restore = await database.backUp();
  await work(async () => {});
  await restore(clock.now);

  await using store = await database.open(options);
  await store.changeRecovery({ kind: "check" }, "test");
  for (let round = 0, recovery: unknown = true; recovery !== undefined; round++) {
    assert.ok(round * ROUND_MS < RECOVERY_LIMIT_MS, `seed ${seed}: hosts still report something after ${round} rounds`);
    for (const host of HOSTS.toSorted(() => random.next() - 0.5)) {
      const outcome = await commitOne(store, claim(`new-${round}-${host}`, host, `new-${round}-${host}`));
      if ("problem" in outcome) assert.equal(outcome.problem.code, "unavailable", `seed ${seed}`);
      else assert.equal(recovery, undefined, `seed ${seed}: assigned something new during recovery`);
      recovery = await world.sweep(store, host);
      if (recovery === undefined) break;
    }
    clock.pass(ROUND_MS);
  }

  for (const [id, { host, claim: item, ips, isTarget }] of world.plugged) {
    const port = await store.readPort(item.name ?? "");
    const binding = isTarget ? port.inactiveBinding : port.binding;
    const has = [binding?.host, binding?.sandbox?.id, port.fixedIps.map(({ address }) => address)];
    assert.deepEqual(has, [host, id, ips], `seed ${seed}: ${item.name}`);
  }
  clock.pass(REUSE_DELAY_MS);
  const used = new Set([...world.plugged.values()].flatMap(({ ips }) => ips));
  const others = await store.commit(Array.from({ length: SIZE }, (_, n) => claim(`fill-${n}`, "a", `fill-${n}`)));
  for (const outcome of others) {
    if (!("segment" in outcome)) continue;
    for (const { address } of outcome.port.fixedIps) assert.ok(!used.has(address), `seed ${seed}: ${address} twice`);
  }
  assert.deepEqual(await store.check(), [], `seed ${seed}`);
}
