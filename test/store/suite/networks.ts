import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { IpamError, NetworkManifest } from "../../../ipam-server/contract/index.ts";
import { addressesOf, attach, claim, network, REUSE_DELAY_MS, release } from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const SUBNET = { cidr: "10.0.0.0/24", gateway: "10.0.0.1" };

export function testNetworks(engine: Engine): void {
  describe(`${engine.name}: networks`, () => {
    it("writes no event when a network is declared again", async () => {
      await withStore(engine, [], async store => {
        const manifest = network("net", 10, [SUBNET], { mtu: 1500 });
        assert.equal((await store.putNetwork(manifest, "me")).outcome, "created");
        const again = await store.putNetwork(manifest, "me");
        assert.deepEqual([again.outcome, again.changes], ["unchanged", []]);
        assert.equal((await store.readEvents({})).events.length, 1);
        const changed = await store.putNetwork(
          network("net", 10, [{ ...SUBNET, exclude: ["10.0.0.9"] }], { mtu: 9000 }),
          "me",
        );
        assert.equal(changed.outcome, "changed");
        assert.deepEqual(changed.changes, ["mtu: 1500 -> 9000", "subnet 10.0.0.0/24: exclude"]);
      });
    });

    it("rejects a change that orphans held addresses, and names the ports", async () => {
      await withStore(engine, [network("net", 10, [SUBNET])], async store => {
        await attach(store, claim("web", "a", "s1"));
        const before = await store.readNetworks();
        const refusals: [NetworkManifest, RegExp][] = [
          [network("net", 10, []), /subnet 10\.0\.0\.0\/24/],
          [network("net", 10, [{ cidr: "10.0.0.0/25" }]), /subnet/],
          [network("net", 10, [{ ...SUBNET, gateway: "10.0.0.2" }]), /gateway/],
          [network("net", 10, [{ ...SUBNET, exclude: ["10.0.0.0/30"] }]), /exclusions/],
          [network("net", 11, [SUBNET]), /segment/],
        ];
        for (const [manifest, pattern] of refusals) {
          await assert.rejects(store.putNetwork(manifest, "me"), (error: IpamError) => {
            assert.deepEqual([error.code, error.details.ports], ["conflict", ["web"]]);
            assert.match(error.message, pattern);
            return true;
          });
        }
        await assert.rejects(store.deleteNetwork("net", "me"), { code: "conflict", message: /web/ });
        assert.deepEqual(await store.readNetworks(), before);
        await store.commit([release("a", "s1")]);
        await store.deleteNetwork("net", "me");
        assert.deepEqual(await store.readNetworks(), []);
        await assert.rejects(store.deleteNetwork("net", "me"), { code: "not_found" });
      });
    });

    it("loses no address and assigns none twice when pools change", async () => {
      const pools = (...ranges: string[]) => network("net", 10, [{ cidr: "10.0.0.0/24", pools: ranges }]);
      await withStore(engine, [pools("10.0.0.10-10.0.0.13")], async (store, clock) => {
        let serial = 0;
        const fill = async () => {
          const taken: string[] = [];
          for (;;) {
            const uid = `p${serial++}`;
            const [outcome] = await store.commit([claim(uid, "a", uid)]);
            if (!outcome || "problem" in outcome) return taken.sort();
            if ("segment" in outcome) taken.push(...addressesOf(outcome));
          }
        };
        const last = (...ends: number[]) => ends.map(end => `10.0.0.${end}`).sort();
        assert.deepEqual(await fill(), last(10, 11, 12, 13));
        await store.commit([release("a", "p1")]);
        await store.putNetwork(pools("10.0.0.10-10.0.0.12"), "me");
        await store.putNetwork(pools("10.0.0.8-10.0.0.15", "10.0.0.20-10.0.0.20"), "me");
        assert.deepEqual(await fill(), last(8, 9, 14, 15, 20));
        clock.pass(REUSE_DELAY_MS);
        assert.deepEqual(await fill(), last(11));
        assert.deepEqual(await store.check(), []);
        await store.putNetwork(pools("10.0.0.100-10.0.0.101"), "me");
        assert.deepEqual(await fill(), last(100, 101));
      });
    });

    it("rejects overlapping subnets of a VPC and a segment used twice", async () => {
      await withStore(engine, [network("net", 10, [SUBNET])], async store => {
        const put = (manifest: NetworkManifest) => store.putNetwork(manifest, "me");
        await assert.rejects(put(network("two", 11, [{ cidr: "10.0.0.128/25" }])), {
          code: "conflict",
          message: /network net/,
        });
        await assert.rejects(put(network("two", 10, [{ cidr: "10.1.0.0/24" }])), {
          code: "conflict",
          message: /network net/,
        });
        await put(network("two", 11, [{ cidr: "10.0.0.128/25" }], { vpc: "other" }));
        const [first, second] = await Promise.all([
          attach(store, claim("p", "a", "p", { ips: ["10.0.0.200"] })),
          attach(store, claim("q", "a", "q", { ips: ["10.0.0.200"] })),
        ]);
        assert.deepEqual(addressesOf(first), addressesOf(second));
        assert.notEqual(first.port.network, second.port.network);
      });
    });
  });
}
