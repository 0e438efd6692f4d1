import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decide } from "../../../ipam-server/domain/decide/decide.ts";
import type { Item } from "../../../ipam-server/domain/model/mutation.ts";
import { planNeeds } from "../../../ipam-server/domain/model/needs.ts";
import type { PortRecord } from "../../../ipam-server/domain/model/port-record.ts";
import { hasRoomForSlot, slotName, slotSeries } from "../../../ipam-server/domain/model/slots.ts";
import { attached, claim, network, REUSE_DELAY_MS, release, START, slotClaim } from "../../store/support/builders.ts";
import { buildCatalog } from "./catalog-builder.ts";

const APP = "c1/shop/web";
const catalog = buildCatalog([
  network("one", 10, [{ cidr: "10.0.0.0/24" }], { availabilityZone: "az1" }),
  network("two", 11, [{ cidr: "10.0.1.0/24" }], { availabilityZone: "az2" }),
]);

function slotPort(number: number, networkId: number, ownerUid: string, bound: boolean): PortRecord {
  return {
    key: number + 1,
    id: `id-${number}`,
    name: `${APP}/${number}`,
    networkId,
    mac: `02:00:00:00:00:0${number}`,
    fixedIps: [],
    labels: {},
    retention: { policy: "sticky" },
    owner: { kind: "pod", uid: ownerUid, createdAt: START },
    binding: bound ? { host: "a", sandbox: { id: ownerUid, interface: "eth0" }, boundAt: START } : undefined,
    inactive: undefined,
    nameFrom: "pod",
    reservation: undefined,
    cluster: undefined,
    namespace: undefined,
    workload: undefined,
    slot: { of: APP, number },
    epoch: 1,
    lastEpoch: 1,
    underlay: "DOWN",
    overlay: "DOWN",
    previousBindingReleased: true,
    createdAt: START,
    updatedAt: START,
    releasedAt: undefined,
    expiresAt: undefined,
    isProtected: false,
    unneeded: undefined,
  };
}

/** Returns the names of the slots that the batch's claims get. */
function picked(batch: Item[], ports: PortRecord[], vacant: number[]): string[] {
  const offsets = [100n, 101n, 102n, 103n];
  const subnets = catalog.networks.flatMap(network => network.subnets);
  const fresh = new Map(subnets.map(({ id, ranges }) => [id, ranges.map(pool => ({ pool, offsets }))]));
  const vacantSlots = new Map([[APP, vacant]]);
  const snapshot = { catalog, ports, addresses: [], macs: [], vacantSlots, fresh, freed: new Map(), nextPortKey: 50 };
  const context = {
    now: START,
    reuseDelayMs: REUSE_DELAY_MS,
    leaseMs: 3_600_000,
    retention: { whenDeleted: 60, whenScaled: 60 },
    fabricManaged: false,
    newId: () => "id",
  };
  const decision = decide(batch, snapshot, context);
  assert.ok("outcomes" in decision);
  return decision.outcomes.flatMap((outcome, index) =>
    batch[index]?.kind === "claim" ? attached(outcome).port.name.slice(APP.length + 1) : [],
  );
}

const inZone = (availabilityZone: string) => ({ availabilityZone });

describe("choosing a slot", () => {
  it("prefers the owner's bound slot, then its last one, then any other", () => {
    const mine = [slotPort(0, 1, "x", false), slotPort(1, 1, "me", false), slotPort(2, 1, "me", true)];
    assert.deepEqual(picked([slotClaim(APP, "a", "me")], mine, [3]), ["2"]);
    assert.deepEqual(picked([slotClaim(APP, "a", "me")], mine.slice(0, 2), [2]), ["1"]);
    assert.deepEqual(picked([slotClaim(APP, "a", "other")], mine, [3]), ["0"]);
  });

  it("takes the lowest vacant or free slot, and never a bound one", () => {
    const ports = [slotPort(0, 1, "x", true), slotPort(2, 1, "y", false), slotPort(4, 1, "z", false)];
    const batch = ["p", "q", "r", "s"].map(uid => slotClaim(APP, "a", uid));
    assert.deepEqual(picked(batch, ports, [1, 3, 5, 6]), ["1", "2", "3", "4"]);
  });

  it("treats slots that the batch released as free and deleted ones as vacant", () => {
    const ports = [slotPort(0, 1, "x", true), slotPort(1, 1, "y", false)];
    const batch = [
      { kind: "deletePort", name: `${APP}/1`, caller: "t" } as const,
      slotClaim(APP, "a", "p"),
      release("a", "x"),
      slotClaim(APP, "a", "q"),
    ];
    assert.deepEqual(picked(batch, ports, [2, 3]), ["1", "0"]);
  });

  it("skips a slot on a network that the host cannot reach unless ports may move", () => {
    const ports = [slotPort(0, 1, "me", false), slotPort(1, 2, "y", true)];
    assert.deepEqual(picked([slotClaim(APP, "b", "me", inZone("az2"))], ports, [2]), ["2"]);
    assert.deepEqual(picked([slotClaim(APP, "b", "me", inZone("az1"))], ports, [2]), ["0"]);
    const moving = slotClaim(APP, "b", "new", { ...inZone("az2"), onMismatch: "reallocate" });
    assert.deepEqual(picked([moving], ports, [2]), ["0"]);
  });

  it("uses a reserved slot only for its allowed owners", () => {
    const ports = [{ ...slotPort(0, 1, "x", false), reservation: { allowedNamespaces: ["c1/shop"] } }];
    const from = (namespace: string) => slotClaim(APP, "a", "p", { cluster: "c1", namespace });
    assert.deepEqual(picked([from("other")], ports, [1]), ["1"]);
    assert.deepEqual(picked([from("shop")], ports, [1]), ["0"]);
  });
});

describe("slots of an application", () => {
  it("are requested once with every owner, every set of networks and enough spares", () => {
    const bad = slotClaim(APP, "a", "bad", { networkSelector: "a in (" });
    const batch = [
      slotClaim(APP, "a", "p", inZone("az1")),
      slotClaim(APP, "b", "q", inZone("az2")),
      slotClaim(APP, "a", "r", inZone("az1")),
      claim(`${APP}/7`, "a", "named"),
      claim("c1/shop/webby", "a", "another"),
      slotClaim(APP, "a", "p", { slotOf: { application: APP, interface: "net1" }, onMismatch: "reallocate" }),
      slotClaim("x".repeat(243), "a", "long"),
    ];
    const { slots } = planNeeds([...batch, bad], catalog);
    assert.deepEqual(slots, [
      { slotOf: { application: APP }, count: 5, ownerUids: ["p", "q", "r", "bad"], networkSets: [[1], [2]] },
      {
        slotOf: { application: APP, interface: "net1" },
        count: 2,
        ownerUids: ["p"],
        networkSets: [[1, 2], undefined],
      },
    ]);
  });

  it("have unique names of application, number and interface", () => {
    const net1 = { application: APP, interface: "net1" };
    assert.equal(slotName({ application: APP }, 3), "c1/shop/web/3");
    assert.equal(slotName(net1, 3), "c1/shop/web/3/net1");
    assert.notEqual(slotSeries(net1), slotSeries({ application: `${APP}/net1` }));
    const long = { application: "a".repeat(242) };
    assert.ok(hasRoomForSlot(long));
    assert.ok(slotName(long, 4_294_967_295).length <= 253);
    assert.ok(!hasRoomForSlot({ application: "a".repeat(242), interface: "b" }));
  });
});
