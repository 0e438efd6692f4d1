import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NetworkManifest, SubnetSpec } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import {
  addressesOf,
  attach,
  claim,
  commitOne,
  network,
  REUSE_DELAY_MS,
  refused,
  release,
} from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const IPV4: SubnetSpec = { cidr: "10.0.0.0/29" };
const IPV6: SubnetSpec = { cidr: "fd00:0:0:1:8000::/125" };

export function testRedeclared(engine: Engine): void {
  const freeFirst = async (store: Store): Promise<string[]> => {
    const addresses = addressesOf(await attach(store, claim("old", "a", "old")));
    await store.commit([release("a", "old")]);
    return addresses;
  };

  describe(`${engine.name}: subnets declared again`, () => {
    const declared = [network("net", 10, [IPV4, IPV6])];
    const ways: [string, (store: Store) => Promise<unknown>][] = [
      [
        "removed and added",
        async store => {
          await store.putNetwork(network("net", 10, []), "me");
          await store.putNetwork(network("net", 10, [IPV4, IPV6]), "me");
        },
      ],
      [
        "deleted and declared under another name",
        async store => {
          await store.deleteNetwork("net", "me");
          await store.putNetwork(network("other", 10, [IPV6, IPV4], { vpc: "blue" }), "me");
        },
      ],
      [
        "moved to another segment and back",
        async store => {
          await store.putNetwork(network("net", 11, [IPV4, IPV6]), "me");
          await store.putNetwork(network("net", 10, [IPV4, IPV6]), "me");
        },
      ],
      [
        "removed and contained in a wider one",
        async store => {
          await store.deleteNetwork("net", "me");
          const wide = [{ cidr: "10.0.0.0/24" }, { cidr: "fd00:0:0:1::/64" }];
          await store.putNetwork(network("net", 10, wide), "me");
        },
      ],
    ];
    for (const [how, declare] of ways) {
      it(`assigns a freed address only after the reuse delay when its subnet was ${how}`, async () => {
        await withStore(engine, declared, async (store, clock) => {
          const ips = await freeFirst(store);
          assert.deepEqual(ips, ["10.0.0.1", "fd00::1:8000:0:0:1"]);
          await declare(store);
          assert.ok(!addressesOf(await attach(store, claim("next", "a", "next"))).some(ip => ips.includes(ip)));
          clock.pass(REUSE_DELAY_MS - 1);
          for (const ip of ips) {
            refused(
              await commitOne(store, claim("new", "a", "new", { ips: [ip] })),
              "address_in_use",
              /port old.* 1 s/,
            );
          }
          clock.pass(1);
          assert.deepEqual(addressesOf(await attach(store, claim("new", "a", "new", { ips }))), ips);
        });
      });
    }

    it("assigns an address at once when another segment had it", async () => {
      await withStore(engine, declared, async store => {
        const ips = await freeFirst(store);
        await store.deleteNetwork("net", "me");
        await store.putNetwork(network("net", 11, [IPV4, IPV6]), "me");
        assert.deepEqual(addressesOf(await attach(store, claim("new", "a", "new", { ips }))), ips);
      });
    });

    it("forgets an address when its delay ended while no subnet had it", async () => {
      await withStore(engine, declared, async (store, clock) => {
        const ips = await freeFirst(store);
        await store.deleteNetwork("net", "me");
        clock.pass(REUSE_DELAY_MS);
        await store.putNetwork(network("net", 10, [IPV4, IPV6]), "me");
        assert.deepEqual(addressesOf(await attach(store, claim("new", "a", "new"))), ips);
      });
    });
  });

  describe(`${engine.name}: subnets that grow`, () => {
    const take = async (store: Store, uid: string) => addressesOf(await attach(store, claim(uid, "a", uid)));
    const cases: [string, SubnetSpec[], SubnetSpec[]][] = [
      ["upwards", [{ cidr: "10.0.0.0/29" }], [{ cidr: "10.0.0.0/28" }]],
      ["downwards", [{ cidr: "10.0.0.8/29" }], [{ cidr: "10.0.0.0/28" }]],
      [
        "in both families",
        [{ cidr: "10.0.0.8/29" }, { cidr: "fd00:0:0:1:8000::/65" }],
        [{ cidr: "10.0.0.0/24" }, { cidr: "fd00:0:0:1::/64" }],
      ],
    ];
    for (const [how, before, after] of cases) {
      it(`keep every port, its address and the reuse delay when they grow ${how}`, async () => {
        await withStore(engine, [network("net", 10, before)], async (store, clock) => {
          const held = await take(store, "held");
          const freed = await take(store, "freed");
          await store.commit([release("a", "freed")]);
          const { changes } = await store.putNetwork(network("net", 10, after), "me");
          assert.deepEqual(
            changes,
            before.map(({ cidr }, index) => `subnet ${cidr}: widened to ${after[index]?.cidr}`),
          );
          const { fixedIps } = await store.readPort("held");
          assert.deepEqual(
            fixedIps.map(({ address, subnet }) => [address, subnet]),
            held.map((address, index) => [address, after[index]?.cidr]),
          );
          assert.deepEqual(await store.check(), []);
          refused(await commitOne(store, claim("new", "a", "new", { ips: freed })), "address_in_use", /port freed/);
          const taken = new Set(held);
          for (let count = 0; count < 5; count++) {
            for (const ip of await take(store, `p${count}`)) {
              assert.ok(!taken.has(ip) && !freed.includes(ip), ip);
              taken.add(ip);
            }
          }
          await store.commit([release("a", "p0"), release("a", "held")]);
          clock.pass(REUSE_DELAY_MS);
          assert.deepEqual(addressesOf(await attach(store, claim("back", "a", "back", { ips: held }))), held);
        });
      });
    }

    it("are refused when a held address would be excluded", async () => {
      await withStore(engine, [network("net", 10, [{ cidr: "10.0.0.8/30" }])], async store => {
        await attach(store, claim("web", "a", "web", { ips: ["10.0.0.9"] }));
        const put = (manifest: NetworkManifest) => store.putNetwork(manifest, "me");
        await assert.rejects(put(network("net", 10, [{ cidr: "10.0.0.0/28", exclude: ["10.0.0.8/31"] }])), {
          code: "conflict",
          message: /port web holds an address that would be in the exclusions of subnet 10\.0\.0\.0\/28/,
        });
        await put(network("net", 10, [{ cidr: "10.0.0.0/28", gateway: "10.0.0.1" }]));
        assert.deepEqual(addressesOf(await attach(store, claim("more", "a", "more"))), ["10.0.0.2"]);
      });
    });

    it("take only the subnet with held addresses along when two become one", async () => {
      const halves = [{ cidr: "10.0.0.0/29" }, { cidr: "10.0.0.8/29" }];
      await withStore(engine, [network("net", 10, halves)], async store => {
        await attach(store, claim("web", "a", "web", { ips: ["10.0.0.9"] }));
        await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/28" }]), "me");
        assert.equal((await store.readPort("web")).fixedIps[0]?.subnet, "10.0.0.0/28");
        assert.deepEqual(addressesOf(await attach(store, claim("more", "a", "more"))), ["10.0.0.1"]);
      });
    });
  });
}
