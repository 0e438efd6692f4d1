import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import { onlyNew, withSubnet } from "../../../ipam-server/domain/networks/network-edit.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  attached,
  bornAt,
  claim,
  network,
  refused,
  release,
} from "../support/builders.ts";
import { follow } from "../support/follow-events.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";
import { Random } from "../support/random.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/16" }]);

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

/** So many replicas on one new database. */
async function withReplicas(count: number, body: (stores: Store[], url: string) => Promise<void>): Promise<void> {
  const url = await server.createDatabase();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => server.dropDatabase(url));
  const options = { url, readers: 1, reuseDelayMs: 0, pollMs: 500 };
  // All at once, on an empty database: one of them makes the tables.
  const stores = await Promise.all(Array.from({ length: count }, () => openPostgresStore(options)));
  for (const store of stores) stack.use(store);
  await body(stores, url);
}

describe("replicas on one database", () => {
  it("assigns every address of many small pools that other replicas use too", async () => {
    await withReplicas(2, async ([one, two]) => {
      const pools = Array.from({ length: 100 }, (_, index) => `10.0.0.${2 * index + 2}-10.0.0.${2 * index + 2}`);
      await one?.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/24", pools }]), "test");
      assert.equal((await two?.readNetworks())?.length, 1);
      const claims = (from: number, to: number) =>
        Array.from({ length: to - from }, (_, index) => claim(`p${from + index}`, "a", `p${from + index}`));
      const outcomes = [...((await one?.commit(claims(0, 70))) ?? []), ...((await two?.commit(claims(70, 101))) ?? [])];
      const addresses = outcomes.slice(0, 100).flatMap(outcome => addressesOf(attached(outcome)));
      assert.equal(new Set(addresses).size, 100);
      refused(outcomes[100], "no_address_available");
      assert.ok(two);
      await assertHealthy(two);
    });
  });

  it("assigns each name and each last address once", async () => {
    await withReplicas(3, async stores => {
      await stores[0]?.putNetwork(network("small", 11, [{ cidr: "10.1.0.0/26" }]), "test");
      const holders = new Map<string, string>();
      let refusals = 0;
      await Promise.all(
        stores.map(async (store, replica) => {
          for (let round = 0; round < 30; round++) {
            const batch = Array.from({ length: 8 }, (_, index) => {
              const name = `p${(round * 8 + index) % 90}`;
              return claim(name, `node-${replica}`, `${name}-uid`, { sandbox: { id: name, interface: "eth0" } });
            });
            for (const [index, outcome] of (await store.commit(batch)).entries()) {
              const item = batch[index];
              assert.ok(item?.kind === "claim");
              if ("problem" in outcome) refusals++;
              else
                for (const address of addressesOf(attached(outcome))) {
                  const name: string = item.claim.name ?? "";
                  assert.equal(holders.get(address) ?? name, name, `${address} was given to two ports`);
                  holders.set(address, name);
                }
            }
          }
        }),
      );
      assert.ok(refusals > 0, "the network was to be full");
      assert.equal(holders.size, 62);
      for (const store of stores) await assertHealthy(store);
      const usages = await Promise.all(
        stores.map(async store => (await store.readNetworks())[0]?.subnets[0]?.usage.held),
      );
      assert.deepEqual(usages, [62, 62, 62]);
    });
  });

  it("stays consistent under random claims, releases and deletions", async t => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    t.diagnostic(`seed ${seed}`);
    await withReplicas(3, async stores => {
      const [first] = stores;
      await first?.putNetwork(network("a", 10, [{ cidr: "10.0.0.0/27" }, { cidr: "fd00:1::/64" }]), "test");
      await first?.putNetwork(network("b", 11, [{ cidr: "10.0.1.0/27" }]), "test");
      await Promise.all(
        stores.map(async (store, replica) => {
          const random = new Random(seed + replica);
          for (let round = 0; round < 60; round++) {
            const batch = Array.from({ length: 1 + random.below(12) }, () => randomItem(random));
            await store.commit(batch);
          }
        }),
      );
      for (const store of stores) await assertHealthy(store);
    });
  });

  it("assigns every epoch once when three replicas move the same ports", async () => {
    await withReplicas(3, async stores => {
      await stores[0]?.putNetwork(NET, "test");
      const names = Array.from({ length: 12 }, (_, index) => `p${index}`);
      const move = (name: string, uid: string) =>
        claim(name, uid, `${name}-${uid}`, { retention: { policy: "sticky" } });
      await stores[0]?.commit(names.map(name => move(name, "first")));
      const epochs = names.map(() => [1]);
      await Promise.all(
        stores.map(async (store, replica) => {
          const random = new Random(replica);
          for (let round = 0; round < 25; round++) {
            const order = names.map((_, index) => index).sort(() => random.next() - 0.5);
            const outcomes = await store.commit(order.map(index => move(names[index] ?? "", `h${replica}-${round}`)));
            for (const [at, outcome] of outcomes.entries()) epochs[order[at] ?? 0]?.push(attached(outcome).port.epoch);
          }
        }),
      );
      const expected = Array.from({ length: 1 + 3 * 25 }, (_, index) => index + 1);
      for (const seen of epochs)
        assert.deepEqual(
          seen.sort((a, b) => a - b),
          expected,
        );
    });
  });

  it("streams every event once and in order on every replica", async () => {
    await withReplicas(3, async stores => {
      const streams = stores.map(follow);
      // Each on a network of its own: nothing but the order of events makes one wait for another.
      const own = (replica: number) => `replica=r${replica}`;
      for (const [replica, store] of stores.entries()) {
        const labels = { replica: `r${replica}` };
        await store.putNetwork(
          network(`net-${replica}`, 10 + replica, [{ cidr: `10.${replica}.0.0/16` }], {}, labels),
          "test",
        );
      }
      await Promise.all(
        stores.map(async (store, replica) => {
          for (let round = 0; round < 60; round++) {
            const batch = Array.from({ length: 1 + ((round * 7) % 20) }, (_, index) => {
              const name = `r${replica}-${round}-${index}`;
              return claim(name, "a", name, { networkSelector: own(replica) });
            });
            await store.commit(batch);
          }
        }),
      );
      const { lastSeq } = (await stores[0]?.readEvents({ limit: 1 })) ?? { lastSeq: 0 };
      assert.ok(lastSeq > 2000);
      for (const stream of streams) {
        await stream.until(lastSeq);
        assert.deepEqual(
          stream.events.map(({ seq }) => seq),
          Array.from({ length: lastSeq }, (_, index) => index + 1),
        );
      }
    });
  });

  it("misses no event when the listening connection is cut", async () => {
    await withReplicas(2, async ([one, two], url) => {
      assert.ok(one && two);
      await one.putNetwork(NET, "test");
      const stream = follow(two);
      for (let round = 0; round < 5; round++) {
        await attach(one, claim(`p${round}`, "a", `p${round}`));
        await server.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = '${new URL(url).pathname.slice(1)}' AND query = 'SELECT last_seq FROM event_counter'`,
        );
      }
      const { lastSeq } = await one.readEvents({ limit: 1 });
      await stream.until(lastSeq);
      assert.equal(stream.events.length, lastSeq);
    });
  });

  it("keeps all subnets added at once, and creates a network once", async () => {
    await withReplicas(2, async stores => {
      const created = await Promise.allSettled(stores.map(store => store.putNetwork(onlyNew(NET), "test")));
      assert.deepEqual(created.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
      const cidrs = Array.from({ length: 10 }, (_, index) => `10.${index + 1}.0.0/24`);
      await Promise.all(cidrs.map((cidr, index) => stores[index % 2]?.putNetwork(withSubnet("net", { cidr }), "test")));
      const subnets = (await stores[0]?.readNetwork("net"))?.subnets.map(({ cidr }) => cidr);
      assert.deepEqual(subnets?.sort(), ["10.0.0.0/16", ...cidrs].sort());
    });
  });

  it("decides by another replica's network changes at once", async () => {
    await withReplicas(2, async ([one, two]) => {
      assert.ok(one && two);
      await one.putNetwork(NET, "test");
      assert.equal((await attach(two, claim("p", "a", "p"))).port.network, "net");
      await one.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/16", gateway: "10.0.0.9" }], { mtu: 9000 }), "test");
      const moved = await attach(two, claim("p", "b", "p2", { owner: bornAt("p2", 1) }));
      assert.deepEqual([moved.mtu, moved.port.fixedIps[0]?.gateway], [9000, "10.0.0.9"]);
      await two.commit([release("b", "p2")]);
      await two.deleteNetwork("net", "test");
      assert.deepEqual(await one.readNetworks(), []);
      const [outcome] = await one.commit([claim("q", "a", "q")]);
      assert.ok(outcome && "problem" in outcome && outcome.problem.code === "no_matching_network");
    });
  });

  it("decides every claim on one state of networks that change under load", async () => {
    await withReplicas(3, async ([admin, ...workers]) => {
      assert.ok(admin);
      await admin.putNetwork(NET, "test");
      const stopping = new AbortController();
      const load = workers.map(async (store, replica) => {
        for (let round = 0; !stopping.signal.aborted; round++) {
          const names = Array.from({ length: 10 }, (_, index) => `w${replica}-${round}-${index}`);
          await store.commit(names.map(name => claim(name, "a", name)));
          await store.commit(names.map(name => release("a", name, { name })));
        }
      });
      for (let round = 0; round < 10; round++) {
        // Refused while ports hold addresses of the subnet that would go.
        await admin.putNetwork(network("more", 11, [{ cidr: `10.${round + 1}.0.0/24` }]), "test").catch(assertConflict);
        await admin.putNetwork(
          network("net", 10, [{ cidr: "10.0.0.0/16", pools: [`10.0.${round}.0-10.0.200.0`] }]),
          "test",
        );
      }
      stopping.abort();
      await Promise.all(load);
      await assertHealthy(admin);
    });
  });

  it("assigns consecutive slots to pods claimed on three replicas at once", async () => {
    await withReplicas(3, async stores => {
      await stores[0]?.putNetwork(NET, "test");
      const names = await Promise.all(
        stores.map(async (store, replica) => {
          const batch = Array.from({ length: 20 }, (_, index): Mutation => {
            const uid = `u${replica}-${index}`;
            const item = claim("-", "a", uid, {
              retention: { policy: "sticky" },
              slotOf: { application: "c1/default/web" },
            });
            if (item.kind === "claim") delete item.claim.name;
            return item;
          });
          return (await store.commit(batch)).map(outcome => attached(outcome).port.name);
        }),
      );
      const numbers = names.flat().map(name => Number(name.split("/").at(-1)));
      assert.deepEqual(
        numbers.sort((a, b) => a - b),
        Array.from({ length: 60 }, (_, index) => index),
      );
    });
  });
});

function assertConflict(error: unknown): void {
  assert.equal((error as { code: string }).code, "conflict");
}

function randomItem(random: Random): Mutation {
  const name = `p${random.below(60)}`;
  const host = random.pick(["a", "b", "c"]);
  const roll = random.next();
  if (roll < 0.5) {
    const sticky = random.chance(0.5) && ({ retention: { policy: "sticky" } } as const);
    const wanted = random.chance(0.1) && { ips: [`10.0.${random.below(2)}.${1 + random.below(30)}`] };
    return claim(name, host, `${name}-${host}`, { ...sticky, ...wanted, families: ["ipv4"] });
  }
  if (roll < 0.85) return release(host, `${name}-${host}`, random.chance(0.5) ? { name } : {});
  if (roll < 0.92) return { kind: "deletePort", name, caller: "test" };
  return { kind: "reserve", name: `r${random.below(5)}`, caller: "test", reservation: { networkSelector: "env=test" } };
}
