import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SubnetSpec } from "../../../ipam-server/contract/index.ts";
import { planNetworkChange, startCursor } from "../../../ipam-server/domain/networks/plan-network-change.ts";
import { validateNetwork } from "../../../ipam-server/domain/networks/validate-network.ts";
import { network } from "../../store/support/builders.ts";
import { buildCatalog } from "./catalog-builder.ts";

const SUBNET: SubnetSpec = { cidr: "10.0.0.0/24", gateway: "10.0.0.1", exclude: ["10.0.0.64/26"] };
const [before] = buildCatalog([network("net", 10, [SUBNET])]).networks;
const plan = (subnets: SubnetSpec[], vlan = 10) =>
  planNetworkChange(before, validateNetwork(network("net", vlan, subnets), []));

describe("planNetworkChange", () => {
  it("reports no change when the manifest is the same", () => {
    assert.deepEqual([plan([SUBNET]).outcome, plan([SUBNET]).changes], ["unchanged", []]);
  });

  it("reports only newly unusable addresses as obstacles", () => {
    const { obstacles, changes } = plan([
      { ...SUBNET, gateway: "10.0.0.9", exclude: ["10.0.0.32/27", "10.0.0.64/26"] },
    ]);
    assert.deepEqual(changes, ["subnet 10.0.0.0/24: gateway: 10.0.0.1 -> 10.0.0.9", "subnet 10.0.0.0/24: exclude"]);
    assert.deepEqual(
      obstacles.flatMap(({ ranges }) => ranges),
      [
        { first: 9n, last: 9n },
        { first: 32n, last: 63n },
      ],
    );
  });

  it("reports all addresses of a subnet when its segment changes or it is removed", () => {
    for (const change of [plan([SUBNET], 11), plan([])]) {
      assert.deepEqual(
        change.obstacles.flatMap(({ ranges }) => ranges),
        [{ first: 0n, last: 255n }],
      );
    }
  });
});

describe("planNetworkChange with many exclusions", () => {
  const other = Array.from({ length: 4096 }, (_, index) => `10.0.${(index * 2) >> 8}.${((index * 2) & 255) + 1}`);
  const WIDE: SubnetSpec = { cidr: "10.0.0.0/16" };
  const change = (from: string[], to: string[]) => {
    const [old] = buildCatalog([network("net", 10, [{ ...WIDE, exclude: from }])]).networks;
    return planNetworkChange(old, validateNetwork(network("net", 10, [{ ...WIDE, exclude: to }]), []));
  };

  it("looks for no obstacle when nothing changed", () => {
    assert.deepEqual([change(other, other).obstacles, change(other, other).outcome], [[], "unchanged"]);
  });

  it("looks at the new ones only, all at once", () => {
    const { obstacles } = change(other.slice(1), other);
    assert.deepEqual(
      obstacles.map(({ ranges }) => ranges),
      [[{ first: 1n, last: 1n }]],
    );
    const all = change([], other).obstacles;
    assert.deepEqual([all.length, all[0]?.ranges.length], [1, 4096]);
  });

  it("joins adjacent ones", () => {
    const adjacent = Array.from({ length: 200 }, (_, index) => `10.0.0.${index + 10}`);
    const [subnet] = validateNetwork(network("net", 10, [{ ...WIDE, exclude: adjacent }]), []).subnets;
    const excluded = subnet?.unusable.find(({ why }) => why === "in the exclusions");
    assert.deepEqual(excluded?.ranges, [{ first: 10n, last: 209n }]);
  });
});

describe("planNetworkChange of a wider prefix", () => {
  const [low] = buildCatalog([network("net", 10, [{ cidr: "10.0.1.0/24", gateway: "10.0.1.1" }])]).networks;
  const widen = (subnet: SubnetSpec) => planNetworkChange(low, validateNetwork(network("net", 10, [subnet]), []));

  it("keeps the subnet, and reports obstacles in its own offsets", () => {
    const { kept, added, removed, obstacles } = widen({
      cidr: "10.0.0.0/23",
      gateway: "10.0.1.2",
      exclude: ["10.0.0.240-10.0.1.9"],
    });
    assert.deepEqual([kept.map(({ poolsChanged }) => poolsChanged), added, removed], [[true], [], []]);
    assert.deepEqual(
      obstacles.flatMap(({ ranges }) => ranges),
      [
        { first: 2n, last: 2n },
        { first: 2n, last: 9n },
      ],
    );
  });

  it("replaces a subnet that the new one does not contain", () => {
    for (const cidr of ["10.0.1.0/25", "10.0.2.0/23"]) {
      const { kept, removed } = widen({ cidr });
      assert.deepEqual([kept.length, removed.length], [0, 1], cidr);
    }
  });
});

describe("startCursor", () => {
  it("keeps the old cursor when the pool starts inside the old one, else starts first", () => {
    const subnet = before?.subnets[0];
    assert.ok(subnet);
    const old = {
      ...subnet,
      ranges: [
        { id: 1, first: 10n, last: 20n, cursor: 15n },
        { id: 2, first: 30n, last: 40n, cursor: 41n },
      ],
    };
    const start = (first: bigint, last: bigint) => startCursor({ first, last }, old);
    assert.deepEqual(
      [
        start(10n, 50n),
        start(12n, 18n),
        start(17n, 18n),
        start(10n, 12n),
        start(5n, 50n),
        start(35n, 60n),
        start(21n, 29n),
      ],
      [15n, 15n, 17n, 13n, 5n, 41n, 21n],
    );
  });
});
