import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NetworkManifest } from "../../../ipam-server/contract/index.ts";
import { decide } from "../../../ipam-server/domain/decide/decide.ts";
import type { Pool } from "../../../ipam-server/domain/model/catalog.ts";
import type { Item } from "../../../ipam-server/domain/model/mutation.ts";
import type { Snapshot } from "../../../ipam-server/domain/model/snapshot.ts";
import { attached, claim, network, REUSE_DELAY_MS, refused, release, START } from "../../store/support/builders.ts";
import { buildCatalog } from "./catalog-builder.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/29" }]);

const offsetsOf = ({ first, last }: Pool) =>
  Array.from({ length: Number(last - first) + 1 }, (_, index) => first + BigInt(index));

function decideOver(manifests: NetworkManifest[], batch: Item[], more: Partial<Snapshot> = {}) {
  const catalog = buildCatalog(manifests);
  const fresh = new Map(
    catalog.networks
      .flatMap(({ subnets }) => subnets)
      .map(({ id, ranges }) => [id, ranges.map(pool => ({ pool, offsets: offsetsOf(pool) }))]),
  );
  const snapshot: Snapshot = {
    catalog,
    ports: [],
    addresses: [],
    macs: [],
    vacantSlots: new Map(),
    fresh,
    freed: new Map(),
    nextPortKey: 7,
    ...more,
  };
  let ids = 0;
  const context = {
    now: START,
    reuseDelayMs: REUSE_DELAY_MS,
    leaseMs: 3_600_000,
    retention: { whenDeleted: 60, whenScaled: 60 },
    fabricManaged: false,
    newId: () => `id-${++ids}`,
  };
  return decide(batch, snapshot, context);
}

function decided(...args: Parameters<typeof decideOver>) {
  const decision = decideOver(...args);
  assert.ok("outcomes" in decision);
  return decision;
}

const UNRELEASED = { released: false, conflict: undefined };

describe("decide", () => {
  it("applies items in order, and writes only events for what cancels out", () => {
    const { outcomes, writes } = decided([NET], [claim("p", "a", "s"), release("a", "s"), claim("p", "a", "s2")]);
    assert.notEqual(attached(outcomes[0]).port.id, attached(outcomes[2]).port.id);
    assert.deepEqual(outcomes[1], { released: true, name: "p", deleted: true });
    assert.deepEqual(
      writes.insertedPorts.map(({ key }) => key),
      [8],
    );
    assert.equal(writes.nextPortKey, 9);
    assert.deepEqual(writes.insertedHeld, [{ subnetId: 1, offset: 2n, portKey: 8 }]);
    assert.deepEqual(
      writes.insertedFreed.map(({ offset }) => offset),
      [1n],
    );
    assert.deepEqual([...writes.counters], [[1, { held: 1, outside: 0, freed: 1 }]]);
    assert.deepEqual([...writes.cursors.values()], [3n]);
    assert.deepEqual(
      writes.events.map(({ type }) => type),
      ["port.created", "port.bound", "port.released", "port.deleted", "port.created", "port.bound"],
    );
  });

  it("writes nothing for a rejected item", () => {
    const { outcomes, writes } = decided(
      [NET],
      [claim("p", "a", "s", { ips: ["10.0.0.0"] }), claim("q", "a", "s", { mac: "03:00:00:00:00:00" })],
    );
    for (const outcome of outcomes) refused(outcome, "invalid_request");
    assert.deepEqual(
      [
        writes.insertedPorts,
        writes.insertedHeld,
        [...writes.counters],
        [...writes.cursors],
        writes.events,
        writes.nextPortKey,
      ],
      [[], [], [], [], [], undefined],
    );
  });

  it("never assigns a requested address again when the cursor reaches it", () => {
    const { outcomes, writes } = decided(
      [NET],
      [claim("p", "a", "1", { ips: ["10.0.0.1"] }), claim("q", "a", "2"), claim("r", "a", "3")],
    );
    assert.deepEqual(
      outcomes.map(outcome => attached(outcome).port.fixedIps[0]?.address),
      ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
    );
    assert.deepEqual([...writes.cursors.values()], [4n]);
  });

  it("reuses the oldest freed address, and only after the reuse delay", () => {
    const queue = (age: number) => ({
      freed: new Map([
        [
          1,
          [
            { offset: 5n, freedAt: START - age, lastPort: "x", ...UNRELEASED },
            { offset: 2n, freedAt: START - age, lastPort: "y", ...UNRELEASED },
          ],
        ],
      ]),
    });
    const catalogLess = (age: number) => {
      const catalog = buildCatalog([NET]);
      const pool = catalog.network(1).subnets[0]?.ranges[0];
      assert.ok(pool);
      return { ...queue(age), catalog, fresh: new Map([[1, [{ pool, offsets: [] }]]]) };
    };
    const due = decided([NET], [claim("p", "a", "s")], catalogLess(REUSE_DELAY_MS));
    assert.equal(attached(due.outcomes[0]).port.fixedIps[0]?.address, "10.0.0.5");
    assert.deepEqual(due.writes.deletedFreed, [{ subnetId: 1, offset: 5n }]);
    refused(
      decided([NET], [claim("p", "a", "s")], catalogLess(REUSE_DELAY_MS - 1)).outcomes[0],
      "no_address_available",
      /1 s/,
    );
  });

  it("names the missing network when the snapshot lacks its pools", () => {
    assert.deepEqual(decideOver([NET], [claim("p", "a", "s")], { fresh: new Map() }), { missingNetworkId: 1 });
  });
});
