import assert from "node:assert/strict";
import { test } from "node:test";
import { planAllocations, planNeeds } from "../../../ipam-server/domain/model/needs.ts";
import { claim, network, release } from "../../store/support/builders.ts";
import { buildCatalog } from "./catalog-builder.ts";

const catalog = buildCatalog([
  network("a", 10, [{ cidr: "10.0.0.0/24" }]),
  network("b", 11, [{ cidr: "10.0.0.0/28" }], { vpc: "other" }),
  network("c", 12, [{ cidr: "fd00::/64" }], {}, { env: "other" }),
]);

test("a batch names all that it may look up, once", () => {
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

test("only new ports ask for addresses, of the networks that match, and a bad selector asks for none", () => {
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
