import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, afterEach, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach, hostLinks, ipv4 } from "./attachment.ts";
import { datapathType, eventually, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

describe("replug", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;
  const plugged: Attachment[] = [];
  const plug = (attachment: Attachment) => {
    plugged.push(attachment);
    return datapath.plug(attachment);
  };

  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
  });
  afterEach(async () => {
    for (const { sandboxId, containerInterface } of plugged.splice(0)) {
      await datapath.unplug(sandboxId, containerInterface, undefined);
    }
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });

  it("brings pods back onto their VLAN after OVSDB was wiped, without touching them", async () => {
    using a = new Pod();
    using b = new Pod();
    const attachments = [attach(a, 1), attach(b, 2)];
    for (const attachment of attachments) await plug(attachment);
    const before = a.run("ip", "-o", "link", "show", "eth0");
    const identity = await datapath.identify();

    await ovs.stopSwitch();
    await ovs.stopDatabase();
    rmSync(`${ovs.directory}/conf.db`);
    rmSync(`${ovs.directory}/.conf.db.~lock~`, { force: true });
    run("ovsdb-tool", "create", `${ovs.directory}/conf.db`, "/usr/share/openvswitch/vswitch.ovsschema");
    await ovs.startDatabase();
    ovs.vsctl("--no-wait", "init");
    await ovs.startSwitch();
    ovs.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", `datapath_type=${datapathType}`);
    const reconnected = await eventually("OVSDB answers", () => datapath.identify().catch(() => undefined));
    assert.notEqual(reconnected, identity, "another database has another identity");
    assert.deepEqual(await datapath.list(), []);
    assert.ok(!a.pings(ipv4(2).address, 1));

    assert.equal((await datapath.listLinks()).length, 2);
    for (const attachment of attachments) assert.ok(((await datapath.replug(attachment))?.ofport ?? 0) > 0);
    assert.ok(a.pings(ipv4(2).address));
    for (const attachment of attachments) assert.deepEqual(await datapath.check(attachment), []);
    assert.equal(a.run("ip", "-o", "link", "show", "eth0"), before);
  });

  it("changes only what differs, such as old external_ids", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 3);
    const { hostInterface, ofport } = await plug(attachment);
    const first = { hostInterface, ofport };
    ovs.vsctl("set", "interface", hostInterface, "external_ids:theirs=kept");
    assert.deepEqual(await datapath.replug(attachment), first);
    const newer = { ...attachment, externalIds: { ...attachment.externalIds, "mooring-epoch": "9" } };
    assert.deepEqual(await datapath.replug(newer), first);
    const [port] = await datapath.list();
    assert.equal(port?.externalIds["mooring-epoch"], "9");
    assert.equal(port?.externalIds.theirs, "kept");
    assert.equal(port?.externalIds["mooring-netns"], pod.netns);
    assert.equal(port?.externalIds["mooring-addresses"], "10.100.1.3,fd00:100::3");
  });

  it("restores a port that was moved to another VLAN", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 4);
    const { hostInterface } = await plug(attachment);
    ovs.vsctl("set", "port", hostInterface, "tag=7");
    await datapath.replug(attachment);
    assert.deepEqual(await datapath.check(attachment), []);
  });

  it("plugs nothing when the link is gone", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 5);
    assert.equal(await datapath.replug(attachment), undefined);
    assert.deepEqual(ovs.ports(), []);
  });

  it("lists its own links only, with or without OVS rows", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 6, { sandboxId: "with-dashes_6" });
    const { hostInterface } = await plug(attachment);
    ovs.vsctl("del-port", "br-int", hostInterface);
    run("ip", "link", "add", "foreign", "type", "veth", "peer", "name", "foreign-peer");
    run("ip", "link", "set", "foreign", "alias", "somebody else's");
    assert.deepEqual(await datapath.listLinks(), [
      { name: hostInterface, up: true, sandboxId: "with-dashes_6", containerInterface: "eth0" },
    ]);
    run("ip", "link", "delete", "foreign");
    assert.equal(hostLinks().length, 1);
  });

  it("names a foreign OVS port that has the link's name", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 7);
    const { hostInterface } = await plug(attachment);
    ovs.vsctl("del-port", "br-int", hostInterface, "--", "add-port", "br-int", hostInterface);
    await assert.rejects(
      datapath.replug(attachment),
      new RegExp(`the OVS port ${hostInterface} has no external_ids of Mooring`),
    );
    ovs.vsctl("del-port", "br-int", hostInterface);
  });
});
