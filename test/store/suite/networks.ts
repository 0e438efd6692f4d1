import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, it } from "node:test";
import type { IpamError, NetworkManifest } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import type { TransferRow } from "../../../ipam-server/domain/transfer/transfer.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  Clock,
  claim,
  network,
  REUSE_DELAY_MS,
  refused,
  release,
} from "../support/builders.ts";
import { collect, importAll } from "../support/transfer-content.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const SUBNET = { cidr: "10.0.0.0/24", gateway: "10.0.0.1" };

/** Its routers are 10.0.0.1 and 10.0.0.3, its nameserver 10.0.0.6. */
const WITH_DEVICES = {
  cidr: "10.0.0.0/29",
  exclude: [],
  routes: [
    { dst: "0.0.0.0/0", gw: "10.0.0.1" },
    { dst: "10.0.0.0/8", gw: "10.0.0.3" },
  ],
  dns: { nameservers: ["10.0.0.6", "192.0.2.53"] },
};

/** Claims ports until there is no address. Resolves to the new ports' addresses. */
async function fillNetwork(store: Store): Promise<string[]> {
  const assigned: string[] = [];
  for (;;) {
    const uid = randomUUID();
    const [outcome] = await store.commit([claim(uid, "a", uid)]);
    if (!outcome || !("segment" in outcome)) {
      refused(outcome, "no_address_available");
      return assigned.sort();
    }
    assigned.push(...addressesOf(outcome));
  }
}

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
        const fill = () => fillNetwork(store);
        const last = (...ends: number[]) => ends.map(end => `10.0.0.${end}`).sort();
        assert.deepEqual(await fill(), last(10, 11, 12, 13));
        const { ports } = await store.readPorts({ ip: "10.0.0.11" });
        await store.commit([release("a", ports[0]?.name ?? "")]);
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

    it("assigns the addresses of routers and nameservers only on request", async () => {
      await withStore(engine, [network("net", 10, [WITH_DEVICES])], async store => {
        assert.deepEqual(await fillNetwork(store), ["10.0.0.2", "10.0.0.4", "10.0.0.5"]);
        for (const ip of ["10.0.0.1", "10.0.0.3", "10.0.0.6"]) {
          assert.deepEqual(addressesOf(await attach(store, claim(ip, "a", ip, { ips: [ip] }))), [ip]);
        }
        assert.equal(
          (await store.putNetwork(network("net", 10, [WITH_DEVICES], { mtu: 1400 }), "me")).outcome,
          "changed",
        );
      });
    });

    it("rejects a next hop that a port holds, and names the port", async () => {
      const { routes, ...subnet } = WITH_DEVICES;
      await withStore(engine, [network("net", 10, [{ cidr: subnet.cidr }])], async store => {
        await attach(store, claim("web", "a", "s1"));
        await attach(store, claim("dns", "a", "s2", { ips: ["10.0.0.6"] }));
        await assert.rejects(store.putNetwork(network("net", 10, [WITH_DEVICES]), "me"), (error: IpamError) => {
          assert.deepEqual([error.code, error.details.ports], ["conflict", ["web"]]);
          assert.match(error.message, /port web holds an address that would be a next hop of subnet 10\.0\.0\.0\/29/);
          return true;
        });
        await store.putNetwork(network("net", 10, [{ ...subnet, routes: routes.slice(1) }]), "me");
        assert.deepEqual(await fillNetwork(store), ["10.0.0.2", "10.0.0.4", "10.0.0.5"]);
      });
    });

    it("spares routers and nameservers in a database of an earlier version", async () => {
      await using database = await engine.createDatabase();
      const clock = new Clock();
      const options = { reuseDelayMs: REUSE_DELAY_MS, clock: clock.read };
      {
        await using store = await database.open(options);
        await store.putNetwork(network("net", 10, [{ cidr: WITH_DEVICES.cidr }]), "test");
        for (const uid of ["s1", "s2", "s3"]) await attach(store, claim(uid, "a", uid));
        await store.commit([release("a", "s3")]);
      }
      await database.execute(`UPDATE subnets SET spec = '${JSON.stringify(WITH_DEVICES)}'`);
      await using store = await database.open(options);
      await assertHealthy(store);
      clock.pass(REUSE_DELAY_MS);
      assert.deepEqual(await fillNetwork(store), ["10.0.0.4", "10.0.0.5"]);
      await store.commit([release("a", "s1")]);
      clock.pass(REUSE_DELAY_MS);
      assert.deepEqual(await fillNetwork(store), []);
      await assertHealthy(store);
    });

    it("imports the pools of an earlier version's export, and spares the same", async () => {
      const rows: TransferRow[] = [];
      await withStore(engine, [network("net", 10, [{ cidr: WITH_DEVICES.cidr }])], async store => {
        await attach(store, claim("s1", "a", "s1"));
        rows.push(...(await collect(store)));
      });
      for (const row of rows) {
        if (row.kind === "network") for (const subnet of row.subnets) subnet.spec = WITH_DEVICES;
      }
      await withStore(engine, [], async store => {
        await importAll(store, rows);
        await assertHealthy(store);
        assert.deepEqual(await fillNetwork(store), ["10.0.0.2", "10.0.0.4", "10.0.0.5"]);
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
