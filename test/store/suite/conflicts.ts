import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import {
  addressesOf,
  attach,
  bornAt,
  claim,
  commitOne,
  leaseClaim,
  network,
  REUSE_DELAY_MS,
  refused,
  release,
} from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NETWORKS = [network("net", 10, [{ cidr: "10.0.0.0/29" }], { nodeLease: { size: 2 } })];
const MAC = "02:00:00:00:00:09";
const sticky = { retention: { policy: "sticky" } } as const;

export function testConflicts(engine: Engine): void {
  const isReleased = async (store: Store, item: Mutation) => (await attach(store, item)).previousBindingReleased;

  describe(`${engine.name}: what is known of an address's last holder`, () => {
    /** Fills the pool and frees the first address, so that it is next. */
    const freeLast = async (store: Store, item: Mutation, end: Mutation): Promise<void> => {
      await attach(store, item);
      for (let count = 0; count < 5; count++) await attach(store, claim(`fill${count}`, "a", `fill${count}`));
      await store.commit([end]);
    };
    const unplaced = claim("pod", "a", "pod");
    if (unplaced.kind === "claim") delete unplaced.claim.sandbox;
    const cases: [string, boolean, Mutation, Mutation][] = [
      ["its host released it unplugged", true, claim("pod", "a", "pod"), release("a", "pod")],
      ["someone else released it", false, claim("pod", "a", "pod"), release("a", "pod", { unplugged: false })],
      ["it was only pre-claimed", false, unplaced, release("a", "x", { name: "pod", ownerUid: "pod" })],
    ];
    for (const [how, expected, item, end] of cases) {
      it(`says ${expected ? "released" : "unknown"} when ${how}`, async () => {
        await withStore(engine, NETWORKS, async (store, clock) => {
          await freeLast(store, item, end);
          clock.pass(REUSE_DELAY_MS);
          const next = await attach(store, claim("next", "a", "next"));
          assert.deepEqual([addressesOf(next), next.previousBindingReleased], [["10.0.0.1"], expected]);
        });
      });
    }

    it("says unknown if never used, wanted, reserved, leased or declared again", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        assert.equal(await isReleased(store, claim("new", "a", "new")), false);
        assert.equal(await isReleased(store, leaseClaim("a", "1")), false);
        await store.commit([release("a", "new")]);
        clock.pass(REUSE_DELAY_MS);
        assert.equal(await isReleased(store, claim("wanted", "a", "w", { ips: ["10.0.0.1"] })), false);
        const reservation = { networkSelector: "env=test" };
        await store.commit([{ kind: "reserve", caller: "test", name: "kept", reservation }]);
        const reserved = claim("kept", "a", "k", { nameFrom: "reserved", cluster: "c", namespace: "n" });
        assert.equal(await isReleased(store, reserved), false);
      });
      await withStore(engine, NETWORKS, async (store, clock) => {
        await attach(store, claim("old", "a", "old"));
        await store.commit([release("a", "old")]);
        await store.deleteNetwork("net", "me");
        for (const manifest of NETWORKS) await store.putNetwork(manifest, "me");
        clock.pass(REUSE_DELAY_MS);
        for (let count = 0; count < 6; count++) {
          assert.equal(await isReleased(store, claim(`p${count}`, "a", `p${count}`)), false);
        }
      });
    });

    it("of a kept port is released only until it moves without a release", async () => {
      await withStore(engine, NETWORKS, async store => {
        const born = (uid: string, host: string, at: number) =>
          claim("kept", host, uid, { owner: bornAt(uid, at), ...sticky });
        await attach(store, born("s1", "a", 0));
        await store.commit([release("a", "s1")]);
        assert.equal(await isReleased(store, born("s2", "b", 1)), true);
        assert.equal(await isReleased(store, born("s3", "c", 2)), false);
        await store.commit([release("c", "s3", { unplugged: false })]);
        assert.equal(await isReleased(store, born("s4", "d", 3)), false);
      });
    });
  });

  describe(`${engine.name}: conflicts`, () => {
    const conflict = (address: string) => ({ conflict: { address, mac: MAC } });

    it("keep the address from every port until they are cleared", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        const ended = await store.commit([
          claim("web", "a", "web", sticky),
          release("a", "web", conflict("10.0.0.1")),
          claim("web", "a", "web", sticky),
        ]);
        assert.deepEqual(ended[1], { released: true, name: "web", deleted: true });
        assert.deepEqual((await store.readPort("web")).fixedIps[0]?.address, "10.0.0.2");
        const [found, ...others] = await store.readConflicts();
        assert.deepEqual(others, []);
        assert.deepEqual(
          { ...found, foundAt: "" },
          { address: "10.0.0.1", network: "net", subnet: "10.0.0.0/29", mac: MAC, host: "a", port: "web", foundAt: "" },
        );
        clock.pass(REUSE_DELAY_MS * 10);
        refused(
          await commitOne(store, claim("own", "a", "own", { ips: ["10.0.0.1"] })),
          "address_in_use",
          /MAC 02:00:00:00:00:09 answered for it to host a/,
        );
        for (let count = 3; count <= 6; count++) await attach(store, claim(`p${count}`, "a", `p${count}`));
        refused(await commitOne(store, claim("full", "a", "full")), "no_address_available");
        assert.deepEqual(await store.check(), []);

        const clear = { kind: "clearConflict", address: "10.0.0.1", caller: "me" } as const;
        assert.deepEqual(await store.commit([clear]), [{ cleared: true }]);
        refused(await commitOne(store, clear), "not_found", /10\.0\.0\.1/);
        clock.pass(REUSE_DELAY_MS);
        const next = await attach(store, claim("full", "a", "full"));
        assert.deepEqual([addressesOf(next), next.previousBindingReleased], [["10.0.0.1"], false]);
        const { events } = await store.readEvents({ type: ["address.conflict", "address.cleared"] });
        assert.deepEqual(
          events.map(({ type, mac, addresses, host }) => [type, mac, addresses, host]),
          [
            ["address.conflict", MAC, ["10.0.0.1"], "a"],
            ["address.cleared", MAC, ["10.0.0.1"], undefined],
          ],
        );
      });
    });

    it("leave a port its address when it had it before, or when it is reserved", async () => {
      await withStore(engine, NETWORKS, async (store, clock) => {
        await attach(store, claim("kept", "a", "s1", sticky));
        await store.commit([release("a", "s1")]);
        clock.pass(1000);
        await attach(store, claim("kept", "b", "s1", sticky));
        const result = await commitOne(store, release("b", "s1", conflict("10.0.0.1")));
        assert.deepEqual(result, { released: true, name: "kept", deleted: false });
        assert.deepEqual([await store.readConflicts(), (await store.readPort("kept")).binding], [[], undefined]);
        const { events } = await store.readEvents({ type: ["address.conflict"] });
        assert.match(events[0]?.message ?? "", /port kept keeps it/);
      });
    });

    it("survive a change of pools, a wider subnet and a late release", async () => {
      await withStore(engine, NETWORKS, async store => {
        await attach(store, claim("web", "a", "web"));
        await store.commit([release("a", "web", conflict("10.0.0.1")), release("a", "web", conflict("10.0.0.1"))]);
        await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/29", pools: ["10.0.0.1-10.0.0.3"] }]), "me");
        await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/28", pools: ["10.0.0.1-10.0.0.3"] }]), "me");
        assert.deepEqual(await store.check(), []);
        assert.equal((await store.readConflicts())[0]?.subnet, "10.0.0.0/28");
        assert.deepEqual(addressesOf(await attach(store, claim("p", "a", "p"))), ["10.0.0.2"]);
      });
    });

    it("are refused for an address that the port does not have", async () => {
      await withStore(engine, NETWORKS, async store => {
        await attach(store, claim("web", "a", "web"));
        const wrong = await commitOne(store, release("a", "web", conflict("10.0.0.2")));
        refused(
          wrong,
          "invalid_request",
          /conflict\.address is "10\.0\.0\.2"; expected an address of port web: 10\.0\.0\.1/,
        );
        assert.notEqual((await store.readPort("web")).binding, undefined);
      });
    });
  });
}
