import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planAllocations, planNeeds } from "../../../ipam-server/domain/model/needs.ts";
import { claim, network, release } from "../../store/support/builders.ts";
import { buildCatalog } from "./catalog-builder.ts";

const catalog = buildCatalog([
  network("a", 10, [{ cidr: "10.0.0.0/24" }]),
  network("b", 11, [{ cidr: "10.0.0.0/28" }], { vpc: "other" }),
  network("c", 12, [{ cidr: "fd00::/64" }], {}, { env: "other" }),
]);

describe("planNeeds and planAllocations", () => {
  it("lists each port, MAC, address and binding of a batch once", () => {
    const needs = planNeeds(
      [
        claim("p", "h", "u", { ips: ["10.0.0.3", "fd00::3"], mac: "02:00:00:00:00:0A" }),
        claim("p", "h", "v"),
        release("h", "s"),
        { kind: "release", caller: "t", release: { host: "h", ownerUid: "u" } },
        release("h", "s", { name: "q" }),
      ],
      catalog,
    );
    assert.deepEqual(needs.portNames, ["p", "q"]);
    assert.deepEqual(needs.macs, ["02:00:00:00:00:0a"]);
    assert.deepEqual(needs.addresses, [
      { subnetId: 1, offset: 3n },
      { subnetId: 2, offset: 3n },
      { subnetId: 3, offset: 3n },
    ]);
    assert.deepEqual(needs.bindings, [
      { host: "h", sandboxId: "s", ownerUid: undefined },
      { host: "h", sandboxId: undefined, ownerUid: "u" },
    ]);
  });

  it("requests addresses only for new ports, and none for an invalid selector", () => {
    const batch = [claim("old", "h", "u"), claim("new", "h", "v"), claim("bad", "h", "w", { networkSelector: "in (" })];
    const needs = planAllocations(batch, catalog, name => name === "old");
    assert.deepEqual(
      [...needs],
      [
        [1, 2],
        [2, 2],
      ],
    );
    assert.equal(planAllocations([claim("old", "h", "u")], catalog, () => true).size, 0);
  });
});
