import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach, hostLinks, ipv4 } from "./attachment.ts";
import { datapathType, eventually, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

describe("MTU of a pod whose network states none", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;
  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
    for (const bridge of ["br-one", "br-two"]) {
      ovs.vsctl("add-br", bridge, "--", "set", "bridge", bridge, `datapath_type=${datapathType}`);
    }
    const patch = (bridge: string, port: string, peer: string) =>
      ovs.vsctl("add-port", bridge, port, "--", "set", "interface", port, "type=patch", `options:peer=${peer}`);
    patch("br-int", "int-one", "one-int");
    patch("br-one", "one-int", "int-one");
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });
  const plugged: Attachment[] = [];
  const uplinks: string[] = [];
  afterEach(async () => {
    for (const { sandboxId } of plugged.splice(0)) await datapath.unplug(sandboxId, "eth0", undefined);
    for (const name of uplinks.splice(0)) {
      ovs.vsctl("del-port", name);
      run("ip", "link", "delete", name);
    }
  });

  const addUplink = async (bridge: string, name: string, mtu: number, ...columns: string[]) => {
    run("ip", "link", "add", name, "mtu", String(mtu), "type", "veth", "peer", "name", `${name}-far`);
    uplinks.push(name);
    ovs.vsctl("add-port", bridge, name, "--", "set", "interface", name, ...columns, "external_ids:test=true");
    await readsMtu(name, mtu);
  };
  const readsMtu = (name: string, mtu: number) =>
    eventually("OVS reads the MTU", () => ovs.vsctl("get", "interface", name, "mtu") === String(mtu));
  const plug = async (pod: Pod, n: number, changes: Partial<Attachment> = {}) => {
    const attachment = attach(pod, n, { mtu: 0, ...changes });
    const { hostInterface, mtu } = await datapath.plug(attachment);
    plugged.push(attachment);
    const [inside] = JSON.parse(pod.run("ip", "-j", "link", "show", "eth0")) as [{ mtu: number }];
    const [outside] = JSON.parse(run("ip", "-j", "link", "show", hostInterface)) as [{ mtu: number }];
    assert.deepEqual([inside.mtu, outside.mtu], [mtu, mtu]);
    return { attachment, mtu };
  };

  it("is 1500 without an uplink, and other workloads do not count", async () => {
    using pod = new Pod();
    using small = new Pod();
    await addUplink("br-int", "tap0", 1300, "external_ids:iface-id=vm");
    await addUplink("br-two", "up-two", 1310);
    await plug(small, 1, { mtu: 1320 });
    assert.equal((await plug(pod, 2)).mtu, 1500);
  });

  it("is the least of the uplinks that its bridge is patched to", async () => {
    using pod = new Pod();
    await addUplink("br-one", "up-large", 9000);
    await addUplink("br-one", "up-small", 8900);
    const { attachment, mtu } = await plug(pod, 1);
    assert.equal(mtu, 8900);
    run("ip", "link", "set", "up-small", "mtu", "1400");
    await readsMtu("up-small", 1400);
    assert.deepEqual(await datapath.check(attachment), [], "a later change is no difference of the pod");
    assert.equal((await datapath.plug(attachment)).mtu, 8900);
  });

  it("is the stated one where one is stated", async () => {
    using pod = new Pod();
    await addUplink("br-int", "up-one", 1400);
    assert.equal((await plug(pod, 1, { mtu: 1450 })).mtu, 1450);
  });

  it("is refused below the minimum of the pod's IPv6 address, with nothing left", async () => {
    using pod = new Pod();
    await addUplink("br-one", "up-one", 1279);
    const message = /an uplink of br-int has the MTU 1279, but fd00:100::1 needs 1280 or more/;
    await assert.rejects(datapath.plug(attach(pod, 1, { mtu: 0 })), { step: "configure", message });
    assert.deepEqual([pod.links(), hostLinks()], [[], []]);
    assert.equal((await plug(pod, 1, { addresses: [ipv4(1)], routes: [] })).mtu, 1279);
  });
});
