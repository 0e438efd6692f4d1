import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach, hostLinks, ipv4 } from "./attachment.ts";
import { eventually, Ovs, Pod, skip, testTimeoutMs } from "./node.ts";

/** Frames that the pod's interface has received and sent. */
function countFrames(pod: Pod): number[] {
  const [link] = JSON.parse(pod.run("ip", "-j", "-s", "link", "show", "eth0"));
  return [link.stats64.rx.packets, link.stats64.tx.packets];
}

describe("a port that is plugged silent", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;
  const plugged: Attachment[] = [];
  const plug = (attachment: Attachment) => {
    plugged.push(attachment);
    return datapath.plug(attachment);
  };
  /** The host interface behind which OVS has learned the MAC, flooding or not. */
  const learnedAt = (mac: string) => {
    const [, ofport] = ovs.appctl("fdb/show", "br-int").match(new RegExp(`^ +(\\d+) +100 +${mac}`, "m")) ?? [];
    return ofport && ovs.vsctl("--bare", "--columns=name", "find", "interface", `ofport=${ofport}`);
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

  it("neither sends nor receives a frame, beside the pod with its address and MAC", async () => {
    using source = new Pod();
    using target = new Pod();
    using other = new Pod();
    const { hostInterface } = await plug(attach(source, 20));
    await plug(attach(other, 21));
    const { ofport } = await plug(attach(target, 20, { isSilent: true }));
    assert.equal(ofport, undefined);
    assert.match(target.run("ip", "-o", "address", "show", "dev", "eth0"), /10\.100\.1\.20\/16/);
    assert.ok(other.pings(ipv4(20).address));
    assert.ok(!target.pings(ipv4(21).address, 1));
    assert.ok(!other.pings("10.100.1.99", 1), "a broadcast");
    assert.deepEqual(countFrames(target), [0, 0]);
    assert.equal(learnedAt("0a:58:0a:64:01:14"), hostInterface);
  });

  it("takes over when its source is fenced and it is replugged, and announces itself", async () => {
    using source = new Pod();
    using target = new Pod();
    using other = new Pod();
    const [from, to] = [attach(source, 22), attach(target, 22)];
    await plug(from);
    await plug(attach(other, 23));
    await plug({ ...to, isSilent: true });
    assert.ok(other.pings(ipv4(22).address));
    await datapath.fence(from);
    const replugged = await datapath.replug(to);
    await datapath.announce(to.netns, "eth0");
    await eventually("the target's announcement", () => learnedAt("0a:58:0a:64:01:16") === replugged?.hostInterface);
    assert.ok(other.pings(ipv4(22).address));
    assert.deepEqual(await datapath.check(to), []);
  });

  it("is checked as a port without traffic, until it is connected", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 27);
    const silent = { ...attachment, isSilent: true as const };
    const { hostInterface } = await plug(silent);
    const [listed] = await datapath.list();
    assert.equal(listed?.isSilent, true);
    assert.deepEqual(await datapath.check(silent), []);
    await datapath.replug(attachment);
    assert.deepEqual(await datapath.check(silent), [
      { what: `state of ${hostInterface}`, expected: "down", found: "up" },
      { what: "OVS port", expected: "none", found: hostInterface },
    ]);
    await datapath.fence(attachment);
    const [fenced] = await datapath.list();
    assert.deepEqual([fenced?.isFenced, fenced?.isSilent], [true, undefined]);
  });

  it("is listed as fenced, and leaves nothing when it is unplugged", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 24, { isSilent: true });
    const { hostInterface } = await plug(attachment);
    const [listed] = await datapath.list();
    assert.deepEqual([listed?.hostInterface, listed?.isFenced, listed?.vlan], [hostInterface, true, 100]);
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", undefined), true);
    assert.deepEqual([hostLinks(), pod.links(), await datapath.list()], [[], [], []]);
  });

  it("stays silent when its ADD is repeated", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 25, { isSilent: true });
    await plug(attachment);
    await plug(attachment);
    assert.deepEqual([ovs.ports(), countFrames(pod)], [[], [0, 0]]);
    assert.equal((await datapath.list()).length, 1);
  });

  it("leaves nothing when plugging it fails", async () => {
    using pod = new Pod();
    const wrong = attach(pod, 26, { isSilent: true, routes: [{ dst: "10.9.0.0/16", gw: "192.0.2.1" }] });
    await assert.rejects(datapath.plug(wrong), /route/);
    assert.deepEqual([hostLinks(), pod.links(), await datapath.list()], [[], [], []]);
  });

  it("cannot announce itself before it is connected", async () => {
    using pod = new Pod();
    await assert.rejects(datapath.announce(pod.netns, "eth0"), /eth0 .*is not up/);
  });
});
