import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Claim, IpFamily, PortAttachment, PortReservation } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { addressesOf, attach, bornAt, claim, commitOne, network, refused, release } from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const DUAL = network("dual", 10, [{ cidr: "10.0.0.0/24" }, { cidr: "fd00:1::/64" }]);
const BOTH: IpFamily[] = ["ipv4", "ipv6"];
const MOVE = { onMismatch: "reallocate" } as const;

const sticky = (uid: string, seconds: number, more: Partial<Claim> = {}) =>
  claim("db", "a", uid, { owner: bornAt(uid, seconds), retention: { policy: "sticky" }, ...more });
const reserve = (reservation: Partial<PortReservation>): Mutation => ({
  kind: "reserve",
  caller: "test",
  name: "vm",
  reservation: { networkSelector: "env=test", ...reservation },
});

/** A kept port of these families that is bound no more, and a neighbour that has the next addresses. */
async function keep(store: Store, more: Partial<Claim>): Promise<PortAttachment> {
  const kept = await attach(store, sticky("s1", 0, more));
  await attach(store, claim("neighbour", "a", "n"));
  await store.commit([release("a", "s1")]);
  return kept;
}

/** What a kept port keeps when a claim asks for something else. */
export function testReallocation(engine: Engine): void {
  describe(`${engine.name}: a kept port that is claimed with other families`, () => {
    it("adds the family that is asked for, and keeps address and MAC", async () => {
      for (const family of ["ipv4", "ipv6"] as const) {
        await withStore(engine, [DUAL], async store => {
          const before = await keep(store, { families: [family] });
          const after = await attach(store, sticky("s2", 1, { families: BOTH }));
          assert.equal(after.port.fixedIps.length, 2);
          assert.ok(addressesOf(after).includes(addressesOf(before)[0] ?? ""));
          assert.deepEqual([after.port.id, after.port.mac], [before.port.id, before.port.mac]);
          const again = await attach(store, sticky("s3", 2, { ips: addressesOf(after) }));
          assert.deepEqual(addressesOf(again), addressesOf(after));
        });
      }
    });

    it("keeps the other address and the MAC when a family is given up", async () => {
      await withStore(engine, [DUAL], async store => {
        const before = await keep(store, { families: BOTH });
        const narrow = { families: ["ipv4"] } satisfies Partial<Claim>;
        refused(await commitOne(store, sticky("s2", 1, narrow)), "conflict", /ipv4 is wanted; .*on-mismatch/);
        const after = await attach(store, sticky("s2", 1, { ...narrow, ...MOVE }));
        assert.deepEqual(addressesOf(after), addressesOf(before).slice(0, 1));
        assert.equal(after.port.mac, before.port.mac);
      });
    });

    it("gives up a MAC that comes with the IPv4 address", async () => {
      await withStore(engine, [DUAL], async (store, clock) => {
        const before = await keep(store, { families: BOTH });
        const after = await attach(store, sticky("s2", 1, { families: ["ipv6"], ...MOVE }));
        assert.deepEqual(addressesOf(after), addressesOf(before).slice(1));
        clock.pass(3_600_000);
        const [ip = ""] = addressesOf(before);
        const next = await attach(store, claim("next", "a", "next", { ips: [ip] }));
        assert.equal(next.port.mac, before.port.mac);
        assert.notEqual(after.port.mac, next.port.mac);
      });
    });

    it("keeps its own address when another of the other family is wanted", async () => {
      await withStore(engine, [DUAL], async store => {
        const before = await keep(store, { mac: "02:00:00:00:00:07" });
        const [own = ""] = addressesOf(before);
        for (const ips of [[own, "fd00:1::77"], ["fd00:1::78"]]) {
          const after = await attach(store, sticky(`s-${ips.at(-1)}`, ips.length === 2 ? 1 : 2, { ips, ...MOVE }));
          assert.deepEqual(addressesOf(after), [own, ips.at(-1)]);
          assert.equal(after.port.mac, before.port.mac);
        }
      });
    });

    it("keeps its addresses when another MAC is wanted, also its own", async () => {
      await withStore(engine, [DUAL], async store => {
        const before = await keep(store, {});
        const mac = "02:00:00:00:00:07";
        const after = await attach(store, sticky("s2", 1, { mac, ...MOVE }));
        assert.deepEqual([addressesOf(after), after.port.mac], [addressesOf(before), mac]);
        const back = await attach(store, sticky("s3", 2, { mac: before.port.mac, ...MOVE }));
        assert.deepEqual([addressesOf(back), back.port.mac], [addressesOf(before), before.port.mac]);
      });
    });

    it("leaves its network for a family only with onMismatch reallocate", async () => {
      const four = network("four", 11, [{ cidr: "10.1.0.0/24" }], {}, { env: "test", only: "four" });
      await withStore(engine, [four, DUAL], async store => {
        const before = await attach(store, sticky("s1", 0, { networkSelector: "only=four" }));
        refused(
          await commitOne(store, sticky("s2", 1, { families: BOTH })),
          "no_address_available",
          /no subnet for ipv4 and ipv6 addresses on network four/,
        );
        refused(await commitOne(store, sticky("s2", 1, { ips: ["fd00:1::7"] })), "invalid_request", /10\.1\.0\.0\/24/);
        assert.deepEqual(await store.readPort("db"), before.port);
        const moved = await attach(store, sticky("s2", 1, { families: BOTH, ...MOVE }));
        assert.deepEqual([moved.port.network, moved.port.id], ["dual", before.port.id]);
      });
    });

    it("adds no family to a reservation while a migration's target has it plugged", async () => {
      await withStore(engine, [DUAL], async store => {
        const by = { nameFrom: "reserved", cluster: "c1", namespace: "default" } as const;
        await store.commit([reserve({ families: ["ipv4"] }), claim("vm", "a", "v", by)]);
        await store.commit([claim("vm", "b", "w", { ...by, migration: { id: "m1" } }), release("a", "v")]);
        refused(await commitOne(store, reserve({ families: BOTH })), "conflict", /bound on host b without ipv6/);
        assert.equal((await store.readPort("vm")).inactiveBinding?.host, "b");
      });
    });

    it("adds a family to a reservation that is not bound, and none by a claim", async () => {
      await withStore(engine, [DUAL], async store => {
        await store.commit([reserve({ families: ["ipv4"] })]);
        const before = await store.readPort("vm");
        const bind = claim("vm", "a", "v", { nameFrom: "reserved", cluster: "c1", namespace: "default" });
        const more = claim("vm", "a", "v", { nameFrom: "reserved", families: BOTH });
        refused(await commitOne(store, more), "conflict", /ipv6 is wanted too; `mooringctl reserve` adds it/);
        await attach(store, bind);
        refused(await commitOne(store, reserve({ families: BOTH })), "conflict", /bound on host a without ipv6/);
        await store.commit([release("a", "v"), reserve({ ips: ["fd00:1::5"] })]);
        const after = await store.readPort("vm");
        assert.deepEqual(addressesOf({ port: after }), [...addressesOf({ port: before }), "fd00:1::5"]);
        assert.equal(after.mac, before.mac);
        refused(await commitOne(store, reserve({ families: ["ipv4"] })), "conflict", /delete it first/);
      });
    });
  });
}
