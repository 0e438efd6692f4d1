import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Cluster, ClusterRegistration } from "../../../ipam-server/contract/index.ts";
import { Brake, limitOf } from "../../../ipam-server/controller/brake.ts";
import type { Reclaim } from "../../../ipam-server/controller/decide-reclaims.ts";
import { stickyPort } from "./ports.ts";

const due = (count: number, from = 0): Reclaim[] =>
  Array.from({ length: count }, (_, at) => ({
    port: stickyPort({ name: `c1/shop/p-${from + at}`, id: `port-${from + at}` }),
    decision: { action: "retire", need: "deleted", reason: "it is gone" },
  }));

/** An IPAM that keeps the held pass, and a person's confirmation of it. */
function setUp() {
  let cluster: Cluster = { name: "c1", uid: "u", registeredAt: "2026-11-20T08:00:00.000Z" };
  const reported: string[] = [];
  const brake = new Brake({
    async register(heldPass: ClusterRegistration["heldPass"]) {
      if (heldPass === null) cluster = { name: "c1", uid: "u", registeredAt: cluster.registeredAt };
      else if (heldPass && cluster.heldPass?.id !== heldPass.id) {
        cluster = { ...cluster, heldPass: { ...heldPass, heldAt: cluster.registeredAt } };
      }
      return cluster;
    },
    onHeld: pass => reported.push(pass.id),
  });
  const confirm = () => {
    assert.ok(cluster.heldPass);
    cluster = { ...cluster, heldPass: { ...cluster.heldPass, confirmedUntil: "2099-01-01T00:00:00.000Z" } };
  };
  return { brake, reported, confirm, held: () => cluster.heldPass };
}

describe("the bound of one pass", () => {
  it("is 20 ports, or a tenth of a large cluster's", () => {
    assert.deepEqual([0, 10, 200, 201, 5000].map(limitOf), [20, 20, 20, 20, 500]);
  });

  it("lets a pass up to it run", async () => {
    const { brake, held } = setUp();
    assert.equal((await brake.admit(due(20), 0, 100)).length, 20);
    assert.equal(held(), undefined);
  });

  it("holds all of a larger pass, and reports it once", async () => {
    const { brake, held, reported } = setUp();
    for (let i = 0; i < 3; i++) assert.deepEqual(await brake.admit(due(21), 0, 100), []);
    const { id, heldAt: _, ...counts } = held() ?? { id: "", heldAt: "" };
    assert.deepEqual(counts, { releases: 0, deletions: 21, ports: 100 });
    assert.deepEqual(reported, [id]);
    assert.equal(brake.heldCount, 21);
  });

  it("counts those that could not be read again", async () => {
    const { brake } = setUp();
    assert.deepEqual(await brake.admit(due(15), 10, 100), []);
  });

  it("lets exactly the confirmed pass run", async () => {
    const { brake, held, confirm } = setUp();
    await brake.admit(due(30), 0, 100);
    confirm();
    assert.equal((await brake.admit(due(29), 0, 100)).length, 29, "fewer of the same");
    const first = held()?.id;
    assert.deepEqual(await brake.admit(due(30, 1), 0, 100), [], "another port joined");
    assert.notEqual(held()?.id, first);
  });

  it("is released once a pass is within it again", async () => {
    const { brake, held } = setUp();
    await brake.admit(due(30), 0, 100);
    assert.equal((await brake.admit(due(3), 0, 100)).length, 3);
    assert.equal(held(), undefined);
    assert.equal(brake.heldCount, 0);
  });
});
