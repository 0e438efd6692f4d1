import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { ping, startPinging } from "../../scripts/lab/ping.ts";
import { describePlugged, expectSuccess, openLab } from "../lab/lab.ts";

const lab = await openLab();
after(() => lab[Symbol.asyncDispose]());

describe("drift", () => {
  for (const family of ["ipv4", "ipv6"] as const) {
    it(`keeps address and MAC on the new node, over ${family}`, async t => {
      const old = await lab.plug(lab.a, `drift-${family}`);
      const address = old[family] ?? "";
      assert.ok(await ping(lab.topology.legacy, address));
      await using pinging = startPinging(lab.topology.legacy, address);
      await pinging.firstAnswerAfter(Date.now());
      const sandbox = await lab.runtime.create(old.pod.name);

      const began = Date.now();
      expectSuccess(await lab.runtime.del(lab.a, old));
      const unplugged = Date.now();
      const answer = await lab.runtime.add(lab.b, sandbox);
      const answered = await pinging.firstAnswerAfter(unplugged);

      t.diagnostic(`outage: ${Math.round(answered - began)} ms`);
      const moved = await describePlugged(lab.b, sandbox, {}, answer);
      assert.deepEqual([moved.ipv4, moved.ipv6, moved.mac], [old.ipv4, old.ipv6, old.mac]);
      const neighbours = await lab.topology.legacy.must(["ip", "neighbour", "show", address]);
      assert.match(neighbours, new RegExp(`lladdr ${old.mac} `));
      const [port] = await lab.readPorts(old.pod.name);
      assert.equal(port?.binding?.host, lab.b.name);
      assert.deepEqual(await lab.a.listPluggedPorts(), []);
      await lab.unplug(moved);
    });
  }

  it("ignores late and repeated DELs from the old node", async () => {
    const old = await lab.plug(lab.a, "late");
    // The node is lost: the pod runs elsewhere before anybody said DEL.
    await lab.topology.fabric.setLink(lab.a, "down");
    const moved = await lab.plug(lab.b, "late");
    assert.deepEqual([moved.ipv4, moved.ipv6, moved.mac], [old.ipv4, old.ipv6, old.mac]);
    const [before] = await lab.readPorts("late");

    expectSuccess(await lab.runtime.del(lab.a, old));
    await old.endpoint.remove();
    expectSuccess(await lab.runtime.del(lab.a, old));
    expectSuccess(await lab.runtime.del(lab.b, old));
    await lab.topology.fabric.setLink(lab.a, "up");

    const [port] = await lab.readPorts("late");
    assert.deepEqual(port?.binding, before?.binding);
    assert.equal(port?.epoch, before?.epoch);
    assert.ok(await ping(lab.topology.legacy, moved.ipv4 ?? ""));
    assert.deepEqual(await lab.a.listPluggedPorts(), []);
    await lab.unplug(moved);
  });

  it("rejects a second ADD while the pod still answers on its old node", async () => {
    const old = await lab.plug(lab.a, "alive");
    const sandbox = await lab.runtime.create("alive");
    const refused = await lab.runtime.add(lab.b, sandbox);
    assert.notEqual(refused.code, 0);
    assert.match(refused.json?.msg ?? "", /the port itself .* still answers/);
    assert.deepEqual([await lab.b.listPluggedPorts(), await lab.b.listVeths()], [[], []]);
    assert.ok(await ping(lab.topology.legacy, old.ipv4 ?? ""), "the pod that runs is not harmed");

    await lab.unplug(old);
    const moved = await describePlugged(lab.b, sandbox, {}, await lab.runtime.add(lab.b, sandbox));
    assert.deepEqual([moved.ipv4, moved.ipv6, moved.mac], [old.ipv4, old.ipv6, old.mac]);
    await lab.unplug(moved);
  });

  it("answers a repeated ADD with the same result and plugs once", async () => {
    const sandbox = await lab.runtime.create("again");
    const first = await lab.runtime.add(lab.a, sandbox);
    const second = await lab.runtime.add(lab.a, sandbox);
    assert.deepEqual(expectSuccess(second), expectSuccess(first));
    assert.equal((await lab.a.listPluggedPorts()).length, 1);
    const plugged = await describePlugged(lab.a, sandbox, {}, second);
    assert.ok(await ping(plugged.endpoint, "10.100.0.1"));
    await lab.unplug(plugged);
    assert.deepEqual([await lab.a.listPluggedPorts(), await lab.a.listVeths()], [[], []]);
  });

  it("ends DEL, DEL, ADD, DEL on two nodes with the sticky port unbound", async () => {
    const first = await lab.plug(lab.a, "dance");
    await lab.unplug(first);
    expectSuccess(await lab.runtime.del(lab.a, first));
    const second = await lab.plug(lab.b, "dance");
    assert.equal(second.ipv4, first.ipv4);
    expectSuccess(await lab.runtime.del(lab.a, first));
    await lab.unplug(second);
    const [port] = await lab.readPorts("dance");
    assert.equal(port?.binding, undefined);
    assert.deepEqual(port?.fixedIps.map(({ address }) => address).toSorted(), [second.ipv4, second.ipv6].toSorted());
    assert.deepEqual([await lab.b.listPluggedPorts(), await lab.b.listVeths()], [[], []]);
  });

  it("deletes an ephemeral port with its sandbox", async () => {
    const plugged = await lab.plug(lab.a, "brief", { retain: "ephemeral" });
    assert.equal((await lab.readPorts("brief")).length, 1);
    await lab.unplug(plugged);
    assert.deepEqual(await lab.readPorts("brief"), []);
  });
});
