import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach, hostLinks, ipv4 } from "./attachment.ts";
import { eventually, Ovs, Pod, skip, testTimeoutMs } from "./node.ts";

describe("fence", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;
  const plugged: Attachment[] = [];
  const plug = (attachment: Attachment) => {
    plugged.push(attachment);
    return datapath.plug(attachment);
  };
  const readPod = (pod: Pod) => [
    pod.run("ip", "-o", "address", "show", "dev", "eth0").replaceAll(/valid_lft.*/g, ""),
    // The kernel flags routes while the link has no carrier.
    ...["-4", "-6"].map(family => pod.run("ip", family, "route").replaceAll(/ linkdown/g, "")),
    pod.run("ip", "-o", "link", "show", "eth0").split(":")[0],
  ];
  const fencedKeys = () => ovs.vsctl("get", "bridge", "br-int", "external_ids").match(/mooring-fenced/g) ?? [];

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

  it("disconnects a pod and keeps its interface; replug connects it again", async () => {
    using pod = new Pod();
    using other = new Pod();
    const attachment = attach(pod, 10);
    const { hostInterface } = await plug(attachment);
    await plug(attach(other, 11));
    const before = readPod(pod);
    assert.equal(await datapath.fence(attachment), true);
    assert.ok(!other.pings(ipv4(10).address, 1));
    assert.ok(!pod.pings(ipv4(11).address, 1));
    assert.ok(!ovs.ports().includes(hostInterface));
    assert.deepEqual(readPod(pod), before);
    assert.equal(await datapath.fence(attachment), false);

    assert.equal((await datapath.replug(attachment))?.hostInterface, hostInterface);
    // The kernel reports a carrier at most once a second.
    await eventually("the pod answers", () => other.pings(ipv4(10).address));
    assert.deepEqual(readPod(pod), before);
    assert.deepEqual(await datapath.check(attachment), []);
    assert.deepEqual(fencedKeys(), []);
  });

  it("keeps the port listed, and DEL removes it with its link", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 12);
    await plug(attachment);
    const [before] = await datapath.list();
    await datapath.fence(attachment);
    assert.deepEqual(await datapath.list(), [{ ...before, isFenced: true, ofport: undefined }]);
    assert.deepEqual(
      (await datapath.listLinks()).map(({ sandboxId, up }) => [sandboxId, up]),
      [[attachment.sandboxId, false]],
    );
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", undefined), true);
    assert.deepEqual([hostLinks(), pod.links(), fencedKeys(), await datapath.list()], [[], [], [], []]);
  });

  it("is undone by a repeated ADD", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 13);
    await plug(attachment);
    await datapath.fence(attachment);
    await datapath.plug(attachment);
    assert.deepEqual([await datapath.check(attachment), fencedKeys()], [[], []]);
  });

  it("takes the link down although OVS does not answer, and completes when repeated", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 14);
    await plug(attachment);
    await using away = openDatapath({ ovsdb: "unix:/nonexistent/db.sock", timeoutMs: testTimeoutMs });
    await assert.rejects(away.fence(attachment), /nonexistent/);
    assert.deepEqual(
      (await datapath.listLinks()).map(({ up }) => up),
      [false],
    );
    assert.equal(await datapath.fence(attachment), true);
    await datapath.replug(attachment);
    assert.deepEqual(await datapath.check(attachment), []);
  });

  it("is undone by replug also when it took only the link down", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 15);
    await plug(attachment);
    await using away = openDatapath({ ovsdb: "unix:/nonexistent/db.sock", timeoutMs: testTimeoutMs });
    await assert.rejects(away.fence(attachment), /nonexistent/);
    await datapath.replug(attachment);
    assert.deepEqual(
      (await datapath.listLinks()).map(({ up }) => up),
      [true],
    );
    assert.deepEqual(await datapath.check(attachment), []);
  });
});
