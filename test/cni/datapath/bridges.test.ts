import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { BridgePlan } from "../../../cni/datapath/bridges/bridge-plan.ts";
import { deriveIntegrationBridges } from "../../../cni/datapath/bridges/integration-bridges.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach } from "./attachment.ts";
import { datapathType, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

const PLAN: BridgePlan = {
  integrations: [{ name: "br-int", physicalNetwork: "physnet1", provider: "br-ex" }],
  uplinks: [],
  datapathType: "auto",
};

describe("bridges", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;

  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });
  afterEach(() => {
    for (const bridge of bridges()) ovs.vsctl("del-br", bridge);
  });

  const bridges = () => ovs.vsctl("list-br").split("\n").filter(Boolean);
  const ports = (bridge: string) => ovs.vsctl("list-ports", bridge).split("\n").filter(Boolean).sort();
  const addBridge = (name: string, type = datapathType) =>
    ovs.vsctl("add-br", name, "--", "set", "bridge", name, `datapath_type=${type}`);
  const made = (table: string, name: string) => ovs.vsctl("--if-exists", "get", table, name, "external_ids");
  const removeAll = () => {
    for (const bridge of bridges()) ovs.vsctl("del-br", bridge);
  };

  it("creates everything once on an empty node, with a datapath type that works", async () => {
    removeAll();
    assert.equal((await datapath.ensureBridges(PLAN)).length, 3);
    assert.deepEqual(bridges(), ["br-ex", "br-int"]);
    for (const bridge of bridges()) {
      assert.equal(ovs.vsctl("get", "bridge", bridge, "datapath_type"), datapathType);
      assert.equal(ovs.vsctl("get", "bridge", bridge, "fail_mode"), "standalone");
      assert.match(made("bridge", bridge), /mooring-made="?true/);
      assert.ok(Number(ovs.vsctl("get", "interface", bridge, "ofport")) > 0, "OVS really has it");
    }
    assert.deepEqual(ports("br-int"), ["br-int-to-br-ex"]);
    assert.deepEqual(ports("br-ex"), ["br-ex-to-br-int"]);
    assert.deepEqual(await datapath.ensureBridges(PLAN), [], "the second time changes nothing");
  });

  it("passes frames between the bridges it created", async () => {
    removeAll();
    await datapath.ensureBridges(PLAN);
    using a = new Pod();
    using b = new Pod();
    const inside = attach(a, 1);
    const outside = attach(b, 2, { bridge: "br-ex" });
    await datapath.plug(inside);
    await datapath.plug(outside);
    try {
      assert.ok(a.pings("10.100.1.2"));
    } finally {
      await datapath.unplug(inside.sandboxId, "eth0", undefined);
      await datapath.unplug(outside.sandboxId, "eth0", undefined);
    }
  });

  it("uses bridges and patch ports of others as they are", async () => {
    removeAll();
    addBridge("br-int");
    addBridge("br-ex");
    ovs.vsctl(
      ...["add-port", "br-int", "their-a", "--", "set", "interface", "their-a", "type=patch", "options:peer=their-b"],
      ...[
        "--",
        "add-port",
        "br-ex",
        "their-b",
        "--",
        "set",
        "interface",
        "their-b",
        "type=patch",
        "options:peer=their-a",
      ],
    );
    assert.deepEqual(await datapath.ensureBridges(PLAN), []);
    assert.deepEqual(ports("br-int"), ["their-a"]);
    assert.deepEqual(await datapath.removeOwnBridges(), { removed: [], kept: [] });
    assert.deepEqual(bridges(), ["br-ex", "br-int"]);
  });

  it("completes half a patch pair, and adds none to the integration bridge itself", async () => {
    removeAll();
    await datapath.ensureBridges(PLAN);
    ovs.vsctl("del-port", "br-ex", "br-ex-to-br-int");
    assert.deepEqual(await datapath.ensureBridges(PLAN), ["patch between br-int and br-ex"]);
    assert.deepEqual(ports("br-ex"), ["br-ex-to-br-int"]);
    removeAll();
    await datapath.ensureBridges({
      ...PLAN,
      integrations: deriveIntegrationBridges("br-int", [{ physicalNetwork: "p", bridge: "br-int" }]),
    });
    assert.deepEqual(ports("br-int"), []);
  });

  it("adds a free uplink, and names a missing one after creating the rest", async t => {
    removeAll();
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0-far");
    t.after(() => run("ip", "link", "delete", "up0"));
    const uplinks = [{ bridge: "br-ex", port: "up0" }];
    await datapath.ensureBridges({ ...PLAN, uplinks });
    assert.deepEqual(ports("br-ex"), ["br-ex-to-br-int", "up0"]);
    assert.match(made("port", "up0"), /mooring-made="?true/);
    assert.deepEqual(await datapath.ensureBridges({ ...PLAN, uplinks: [{ bridge: "br-int", port: "up0" }] }), []);
    assert.deepEqual(ports("br-ex"), ["br-ex-to-br-int", "up0"], "an uplink on another bridge stays there");
    removeAll();
    const absent = datapath.ensureBridges({ ...PLAN, uplinks: [{ bridge: "br-ex", port: "nowhere0" }] });
    await assert.rejects(absent, { name: "DatapathError", message: /uplink nowhere0 of br-ex/ });
    assert.deepEqual(bridges(), ["br-ex", "br-int"]);
  });

  it("rejects bridges of different datapath types and names them", async () => {
    removeAll();
    addBridge("br-int", "netdev");
    addBridge("br-ex", "system");
    await assert.rejects(datapath.ensureBridges(PLAN), /br-(int|ex) is (netdev|system) and br-(int|ex) is/);
  });

  it("creates everything once when two agents start together", async () => {
    removeAll();
    const other = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
    try {
      await Promise.all([datapath.ensureBridges(PLAN), other.ensureBridges(PLAN)]);
    } finally {
      await other[Symbol.asyncDispose]();
    }
    assert.deepEqual(bridges(), ["br-ex", "br-int"]);
    assert.deepEqual([...ports("br-int"), ...ports("br-ex")], ["br-int-to-br-ex", "br-ex-to-br-int"]);
  });

  it("removes all that it created and nothing of others", async () => {
    removeAll();
    addBridge("br-ex");
    await datapath.ensureBridges(PLAN);
    const { removed, kept } = await datapath.removeOwnBridges();
    assert.deepEqual(removed, ["bridge br-int", "port br-ex-to-br-int"]);
    assert.deepEqual(kept, []);
    assert.deepEqual(bridges(), ["br-ex"]);
    assert.deepEqual(ports("br-ex"), []);
  });

  it("removes nothing while a pod is plugged, or fenced", async () => {
    removeAll();
    await datapath.ensureBridges(PLAN);
    using pod = new Pod();
    const attachment = attach(pod, 3);
    await datapath.plug(attachment);
    assert.deepEqual(await datapath.removeOwnBridges(), { removed: [], kept: ["1 pods are plugged"] });
    await datapath.fence(attachment);
    assert.deepEqual(await datapath.removeOwnBridges(), { removed: [], kept: ["1 pods are plugged"] });
    assert.deepEqual(bridges(), ["br-ex", "br-int"]);
    await datapath.unplug(attachment.sandboxId, "eth0", undefined);
    assert.deepEqual((await datapath.removeOwnBridges()).kept, []);
  });

  it("keeps a bridge it created, and its uplink, while another's port is in it", async t => {
    removeAll();
    run("ip", "link", "add", "vm0", "type", "veth", "peer", "name", "vm0-far");
    t.after(() => run("ip", "link", "delete", "vm0"));
    await datapath.ensureBridges(PLAN);
    ovs.vsctl("add-port", "br-int", "vm0");
    const { removed, kept } = await datapath.removeOwnBridges();
    assert.deepEqual(bridges(), ["br-ex", "br-int"]);
    assert.deepEqual(removed, []);
    assert.equal(kept.length, 2);
    ovs.vsctl("del-port", "br-int", "vm0");
    await datapath.removeOwnBridges();
    assert.deepEqual(bridges(), []);
  });
});
