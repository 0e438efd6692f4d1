import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { Datapath } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import { PLUG_STEPS, type PlugStep } from "../../../cni/datapath/datapath-context.ts";
import { deriveHostInterfaces } from "../../../cni/datapath/interface-name.ts";
import { GroupRemoval } from "../../../cni/datapath/kernel/group-removal.ts";
import { attach, hostLinks } from "./attachment.ts";
import { datapathType, eventually, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

describe("unplug and undo", { skip }, () => {
  let ovs: Ovs;
  let datapath: Datapath;
  let failAt: PlugStep | undefined;

  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({
      ovsdb: ovs.remote,
      timeoutMs: testTimeoutMs,
      onStep: step => {
        if (step === failAt) throw new Error(`injected at ${step}`);
      },
    });
  });

  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });

  const assertNothingLeft = (pod?: Pod) => {
    assert.deepEqual(hostLinks(), [], "links on the host");
    assert.deepEqual(ovs.ports(), [], "ports of the bridge");
    assert.equal(ovs.vsctl("--columns=name", "--bare", "find", "interface", "type!=internal"), "", "Interface rows");
    if (pod) assert.deepEqual(pod.links(), [], "links in the pod");
  };

  for (const step of PLUG_STEPS) {
    it(`leaves no link, OVS port or address behind when the plug fails after ${step}`, async () => {
      using pod = new Pod();
      const attachment = attach(pod, 1);
      failAt = step;
      await assert.rejects(datapath.plug(attachment), { name: "DatapathError", message: `injected at ${step}` });
      failAt = undefined;
      assertNothingLeft(pod);
      await datapath.plug(attachment);
      assert.deepEqual(await datapath.check(attachment), [], "the next plug succeeds");
      await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
    });
  }

  it("removes port and both link ends, and returns whether they existed", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 2);
    await datapath.plug(attachment);
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", pod.netns), true);
    assertNothingLeft(pod);
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", pod.netns), false);
    assert.equal(await datapath.unplug("never-plugged", "eth0", undefined), false);
  });

  it("removes leftovers: only a port, only a link, a link without alias", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 3);
    const damages: ((name: string) => void)[] = [
      name => run("ip", "link", "delete", name),
      name => ovs.vsctl("del-port", "br-int", name),
      name => {
        ovs.vsctl("del-port", "br-int", name);
        run("ip", "link", "set", name, "alias", "");
      },
    ];
    for (const damage of damages) {
      damage((await datapath.plug(attachment)).hostInterface);
      assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", pod.netns), true);
      assertNothingLeft(pod);
    }
  });

  it("removes the OVS port of a link whose netns is gone", async () => {
    const pod = new Pod();
    const attachment = attach(pod, 4);
    await datapath.plug(attachment);
    pod[Symbol.dispose]();
    await eventually("the kernel deletes the veth with the namespace", () => hostLinks().length === 0);
    assert.equal(ovs.ports().length, 1);
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", attachment.netns), true);
    assertNothingLeft();
  });

  it("finds the port in any bridge", async () => {
    using pod = new Pod();
    ovs.vsctl("add-br", "br-other", "--", "set", "bridge", "br-other", `datapath_type=${datapathType}`);
    const attachment = attach(pod, 5, { bridge: "br-other" });
    await datapath.plug(attachment);
    assert.deepEqual(
      (await datapath.list()).map(({ sandboxId, bridge }) => [sandboxId, bridge]),
      [[attachment.sandboxId, "br-other"]],
    );
    const [difference] = await datapath.check({ ...attachment, bridge: "br-int" });
    assert.equal(difference?.expected, "br-int");
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", undefined), true);
    ovs.vsctl("del-br", "br-other");
    assertNothingLeft(pod);
  });

  it("touches no port and no link that is not its own", async () => {
    using pod = new Pod();
    using other = new Pod();
    run("ip", "link", "add", "foreign", "type", "veth", "peer", "name", "foreign-peer");
    ovs.vsctl("add-port", "br-int", "foreign");
    const kept = attach(other, 7);
    const { hostInterface } = await datapath.plug(kept);
    const attachment = attach(pod, 6);
    await datapath.plug(attachment);
    await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
    assert.deepEqual(ovs.ports().sort(), ["foreign", hostInterface].sort());
    assert.deepEqual(await datapath.check(kept), []);
    assert.deepEqual(
      (await datapath.list()).map(port => port.sandboxId),
      [kept.sandboxId],
    );
    await datapath.unplug(kept.sandboxId, "eth0", undefined);
    ovs.vsctl("del-port", "br-int", "foreign");
    run("ip", "link", "delete", "foreign");
    assertNothingLeft(pod);
  });

  it("replugs a sandbox repeatedly and leaks no descriptor", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 8);
    const descriptors = readdirSync("/proc/self/fd").length;
    for (let round = 0; round < 10; round++) {
      const { ofport } = await datapath.plug(attachment);
      assert.ok(ofport !== undefined && ofport > 0);
      assert.deepEqual(await datapath.check(attachment), []);
      await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
    }
    assert.equal(readdirSync("/proc/self/fd").length, descriptors);
    assertNothingLeft(pod);
  });

  it("uses another name when a foreign link has the derived one", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 9);
    const [first = "", second] = deriveHostInterfaces(attachment.sandboxId, "eth0");
    run("ip", "link", "add", first, "type", "veth", "peer", "name", "squatter");
    run("ip", "link", "set", first, "alias", "mooring:somebody-else/eth0");
    const { hostInterface } = await datapath.plug(attachment);
    assert.equal(hostInterface, second);
    assert.equal((await datapath.plug(attachment)).hostInterface, second, "found again");
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", pod.netns), true);
    assert.deepEqual(hostLinks(), [first]);
    run("ip", "link", "delete", first);
    assertNothingLeft(pod);
  });

  it("cleans a dead port of its own name at the next plug", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 10);
    const { hostInterface } = await datapath.plug(attachment);
    const ids = ["mooring-sandbox", "mooring-interface"].map((key, index) => {
      return `external_ids:${key}=${[attachment.sandboxId, "eth0"][index]}`;
    });
    await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
    // As after a reboot: OVS remembers a port whose device is gone.
    const add = ["add-port", "br-int", hostInterface, "--", "set", "interface", hostInterface, ...ids];
    ovs.vsctl("--no-wait", ...add);
    await eventually("OVS has tried", () => ovs.vsctl("get", "interface", hostInterface, "ofport") === "-1");
    await datapath.plug(attachment);
    assert.deepEqual(ovs.ports(), [hostInterface]);
    assert.deepEqual(await datapath.check(attachment), []);
    await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
    assertNothingLeft(pod);
  });
});

describe("unplug in an agent", { skip }, () => {
  let ovs: Ovs;
  let datapath: Datapath;
  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({
      ovsdb: ovs.remote,
      timeoutMs: testTimeoutMs,
      removal: openHost => new GroupRemoval(openHost),
    });
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });
  const isUp = (name: string) =>
    (JSON.parse(run("ip", "-j", "link")) as { ifname: string; flags: string[] }[]).some(
      link => link.ifname === name && link.flags.includes("UP"),
    );
  /** As OVS lets go of a device it writes back the flags that it read before, so that a link may be up once more: behind the switch. */
  const isReachable = (name: string) => isUp(name) && ovs.appctl("dpif/show").includes(name);
  const waitForLinks = (expected: string[]) =>
    eventually("the links are deleted", () => JSON.stringify(hostLinks()) === JSON.stringify(expected));

  it("has disconnected the pods when it resolves, and deletes the links soon after", async () => {
    const pods = Array.from({ length: 5 }, () => new Pod());
    const attachments = pods.map((pod, index) => attach(pod, 11 + index));
    const plugged = await Promise.all(attachments.map(attachment => datapath.plug(attachment)));
    await Promise.all(
      attachments.map(async ({ sandboxId, netns }, index) => {
        assert.equal(await datapath.unplug(sandboxId, "eth0", netns), true);
        assert.equal(isReachable(plugged[index]?.hostInterface ?? "?"), false);
      }),
    );
    assert.deepEqual(ovs.ports(), []);
    await waitForLinks([]);
    for (const pod of pods) {
      assert.deepEqual(pod.links(), []);
      pod[Symbol.dispose]();
    }
  });

  it("ignores links pending deletion in unplug, list and plug", async () => {
    using pod = new Pod();
    const { sandboxId, netns } = await plugAndUnplug(pod, 21);
    assert.equal(await datapath.unplug(sandboxId, "eth0", netns), false);
    await waitForLinks([]);
  });

  it("plugs again into the same netns right after an unplug", async () => {
    using pod = new Pod();
    const again = await plugAndUnplug(pod, 22);
    const first = await datapath.plug(again);
    assert.deepEqual(await datapath.check(again), []);
    await datapath.unplug(again.sandboxId, "eth0", pod.netns);
    const other = attach(pod, 23);
    const second = await datapath.plug(other);
    assert.notEqual(first.hostInterface, second.hostInterface);
    assert.deepEqual(await datapath.check(other), []);
    await datapath.unplug(other.sandboxId, "eth0", pod.netns);
    await waitForLinks([]);
  });

  it("keeps foreign links, and deletes those that a killed agent left pending", async () => {
    using pod = new Pod();
    using other = new Pod();
    run("ip", "link", "add", "foreign", "type", "veth", "peer", "name", "foreign-peer");
    run("ip", "link", "add", "moorkilled", "group", String(0x6d6f6f72), "type", "veth", "peer", "name", "killed-peer");
    const kept = attach(other, 25);
    const { hostInterface } = await datapath.plug(kept);
    await plugAndUnplug(pod, 24);
    await waitForLinks([hostInterface]);
    assert.deepEqual(await datapath.check(kept), []);
    run("ip", "link", "delete", "foreign");
    await datapath.unplug(kept.sandboxId, "eth0", other.netns);
    await waitForLinks([]);
  });

  it("has deleted all links when it is disposed of", async () => {
    using pod = new Pod();
    await using ending = openDatapath({
      ovsdb: ovs.remote,
      timeoutMs: testTimeoutMs,
      removal: openHost => new GroupRemoval(openHost),
    });
    const attachment = attach(pod, 26);
    await ending.plug(attachment);
    await ending.unplug(attachment.sandboxId, "eth0", pod.netns);
    await ending[Symbol.asyncDispose]();
    assert.deepEqual(hostLinks(), []);
  });

  async function plugAndUnplug(pod: Pod, n: number) {
    const attachment = attach(pod, n);
    await datapath.plug(attachment);
    await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
    return attachment;
  }
});
