import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import {
  addressesOf,
  attach,
  attached,
  bornAt,
  claim,
  commitOne,
  network,
  REUSE_DELAY_MS,
  refused,
  release,
} from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

export function testAllocation(engine: Engine): void {
  describe(`${engine.name}: allocation`, () => {
    const tiny = [network("tiny", 10, [{ cidr: "10.0.0.0/29", gateway: "10.0.0.1" }])];

    it("assigns unused addresses first, then the one freed longest ago", async () => {
      await withStore(engine, tiny, async (store, clock) => {
        const take = async (uid: string) => addressesOf(await attach(store, claim(uid, "a", uid)))[0];
        assert.deepEqual([await take("p1"), await take("p2"), await take("p3")], ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        await store.commit([release("a", "p2")]);
        clock.pass(10_000);
        await store.commit([release("a", "p1")]);
        assert.deepEqual([await take("p4"), await take("p5")], ["10.0.0.5", "10.0.0.6"]);
        refused(
          await commitOne(store, claim("p6", "a", "p6")),
          "no_address_available",
          /3 held, 2 cooling down, 5 in its pools.*50 s/,
        );
        clock.pass(REUSE_DELAY_MS - 10_000);
        assert.equal(await take("p6"), "10.0.0.3");
        refused(await commitOne(store, claim("p7", "a", "p7")), "no_address_available");
        clock.pass(10_000);
        assert.equal(await take("p7"), "10.0.0.2");
      });
    });

    it("assigns an address to a port that the batch deletes and creates again", async () => {
      const gone: [string, Mutation][] = [
        ["released by name", release("a", "old", { name: "old" })],
        ["released by sandbox", release("a", "old")],
      ];
      for (const [how, item] of gone) {
        await withStore(engine, tiny, async store => {
          await attach(store, claim("old", "a", "old"));
          const replacement = claim("old", "b", "newer", { owner: bornAt("newer", 1) });
          const [first, , second] = await store.commit([claim("new", "a", "new"), item, replacement]);
          assert.deepEqual(
            [...addressesOf(attached(first)), ...addressesOf(attached(second))],
            ["10.0.0.3", "10.0.0.4"],
            how,
          );
        });
      }
    });

    it("accepts a requested address outside the pools, but no unusable one", async () => {
      const subnet = {
        cidr: "10.0.0.0/24",
        gateway: "10.0.0.1",
        pools: ["10.0.0.100-10.0.0.101"],
        exclude: ["10.0.0.200"],
      };
      await withStore(engine, [network("net", 10, [subnet])], async (store, clock) => {
        const want = (name: string, ip: string) => commitOne(store, claim(name, "a", name, { ips: [ip] }));
        assert.deepEqual(addressesOf(await attach(store, claim("p", "a", "p", { ips: ["10.0.0.7"] }))), ["10.0.0.7"]);
        refused(await want("q", "10.0.0.7"), "address_in_use", /10\.0\.0\.7/);
        refused(await want("q", "10.0.0.1"), "invalid_request", /gateway/);
        refused(await want("q", "10.0.0.200"), "invalid_request", /exclusion/);
        refused(await want("q", "10.0.0.255"), "invalid_request", /broadcast/);
        refused(await want("q", "10.0.1.7"), "invalid_request", /no subnet/);
        refused(await want("q", "ten"), "invalid_request", /no IP address/);
        await store.commit([release("a", "p")]);
        clock.pass(1000);
        const cooling = await want("q", "10.0.0.7");
        refused(cooling, "address_in_use", /59 s/);
        assert.ok("problem" in cooling && cooling.problem.retryAfterSeconds === 59);
        const again = await attach(store, claim("p", "a", "p", { ips: ["10.0.0.7"] }));
        assert.equal(again.previousBindingReleased, false, "a wanted address is probed");
        const [tenancy] = (await store.readNetworks()).flatMap(({ subnets }) => subnets);
        assert.deepEqual(tenancy?.usage, { size: "2", held: 1, freed: 0 });
      });
    });

    it("accepts a requested MAC that is free, unicast and not derived", async () => {
      await withStore(engine, tiny, async store => {
        const mac = "02:00:5E:00:00:07";
        assert.equal((await attach(store, claim("p", "a", "p", { mac }))).port.mac, "02:00:5e:00:00:07");
        refused(await commitOne(store, claim("q", "a", "q", { mac })), "address_in_use", /port p/);
        refused(
          await commitOne(store, claim("q", "a", "q", { mac: "03:00:00:00:00:01" })),
          "invalid_request",
          /multicast/,
        );
        refused(
          await commitOne(store, claim("q", "a", "q", { mac: "0a:58:00:00:00:01" })),
          "invalid_request",
          /derive/,
        );
        assert.equal(
          (await attach(store, claim("q", "a", "q", { mac: "0a:58:0a:00:00:03" }))).port.mac,
          "0a:58:0a:00:00:03",
        );
      });
    });

    it("moves a MAC between two ports of one batch in either order", async () => {
      const mac = (last: number) => `02:00:00:00:00:0${last}`;
      const reclaim = (name: string, last: number) =>
        claim(name, "a", `${name}-newer`, {
          mac: mac(last),
          onMismatch: "reallocate",
          owner: bornAt(`${name}-newer`, 1),
        });
      for (const [giver, taker] of [
        ["p1", "p2"],
        ["p2", "p1"],
      ] as const) {
        await withStore(engine, tiny, async store => {
          await attach(store, claim("p1", "a", "p1", { mac: mac(1) }));
          await attach(store, claim("p2", "a", "p2", { mac: mac(2) }));
          const given = giver === "p1" ? 1 : 2;
          // The report touches the taker first, so that the store writes its row first.
          const report = { name: taker, epoch: 1, plane: "underlay", state: "ACTIVE" } as const;
          const outcomes = await store.commit([
            { kind: "report", caller: "test", report },
            reclaim(giver, 3),
            reclaim(taker, given),
          ]);
          assert.deepEqual(
            outcomes.slice(1).map(outcome => attached(outcome).port.mac),
            [mac(3), mac(given)],
          );
        });
      }
    });

    it("chooses the reachable network with the largest share of free addresses", async () => {
      const pair = [network("large", 10, [{ cidr: "10.0.0.0/25" }]), network("less", 11, [{ cidr: "10.1.0.0/26" }])];
      await withStore(engine, pair, async store => {
        const items = Array.from({ length: 60 }, (_, index) => claim(`p${index}`, "a", `p${index}`));
        await store.commit(items);
        const held = (await store.readNetworks()).map(({ name, subnets }) => [name, subnets[0]?.usage.held]);
        assert.deepEqual(held, [
          ["large", 40],
          ["less", 20],
        ]);
        refused(
          await commitOne(store, claim("x", "a", "x", { physicalNetworks: ["other"] })),
          "network_unreachable",
          /physnet1/,
        );
        refused(
          await commitOne(store, claim("x", "a", "x", { networkSelector: "env=none" })),
          "no_matching_network",
          /env=none.*large/,
        );
        refused(await commitOne(store, claim("x", "a", "x", { families: ["ipv6"] })), "no_address_available", /ipv6/);
      });
    });

    it("falls back to the next network during the reuse delay", async () => {
      const pair = [network("a", 10, [{ cidr: "10.0.0.0/31" }]), network("b", 11, [{ cidr: "10.1.0.0/30" }])];
      await withStore(engine, pair, async store => {
        await store.commit(["1", "2", "3"].map(uid => claim(uid, "a", uid)));
        await store.commit(["1", "2", "3"].map(uid => release("a", uid)));
        const left = await attach(store, claim("4", "a", "4"));
        assert.equal(left.port.network, "b");
      });
    });

    it("assigns one address of each family, or only the requested family", async () => {
      const dual = [network("dual", 10, [{ cidr: "10.0.0.0/24" }, { cidr: "fd00:1::/64", gateway: "fd00:1::1" }])];
      await withStore(engine, dual, async store => {
        assert.deepEqual(addressesOf(await attach(store, claim("p", "a", "p"))), ["10.0.0.1", "fd00:1::2"]);
        const six = await attach(store, claim("q", "a", "q", { families: ["ipv6"] }));
        assert.deepEqual(addressesOf(six), ["fd00:1::3"]);
        assert.match(six.port.mac, /^0a:59:/);
        assert.deepEqual(six.routes, [{ dst: "::/0", gw: "fd00:1::1" }]);
        refused(await commitOne(store, claim("q", "b", "q", { families: ["ipv4"] })), "conflict", /ipv6/);
      });
    });

    it("assigns the upper half and the last address of an IPv6 /64 in order", async () => {
      const ends = "fd00:1::7fff:ffff:ffff:fffe-fd00:1::8000:0:0:1";
      const last = "fd00:1::ffff:ffff:ffff:ffff";
      const spec = { cidr: "fd00:1::/64", pools: [ends, `${last}-${last}`] };
      await withStore(engine, [network("six", 10, [spec])], async store => {
        const addresses: string[] = [];
        for (let index = 0; index < 5; index++) {
          addresses.push(...addressesOf(await attach(store, claim(`p${index}`, "a", `p${index}`))));
        }
        assert.deepEqual(addresses, [
          "fd00:1::7fff:ffff:ffff:fffe",
          "fd00:1::7fff:ffff:ffff:ffff",
          "fd00:1:0:0:8000::",
          "fd00:1::8000:0:0:1",
          last,
        ]);
        assert.equal((await store.readPorts({ ip: last })).ports[0]?.name, "p4");
        refused(await commitOne(store, claim("p5", "a", "p5")), "no_address_available");
      });
    });
  });
}
