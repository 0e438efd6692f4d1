import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { PlugStep } from "../../../cni/datapath/datapath-context.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach } from "./attachment.ts";
import { eventually, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

const SUBNET = { ipv4: "10.200.1.", ipv6: "fd00:200::" };

describe("a further interface", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;
  let failsAt: PlugStep | undefined;
  before(async () => {
    ovs = await Ovs.start();
    const onStep = (step: PlugStep) => {
      if (step === failsAt) throw new Error(`injected at ${step}`);
    };
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs, onStep });
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });
  const plugged: Attachment[] = [];
  afterEach(async () => {
    failsAt = undefined;
    for (const each of plugged.splice(0)) await datapath.unplug(each.sandboxId, each.containerInterface, undefined);
  });

  const plug = async (attachment: Attachment) => {
    const result = await datapath.plug(attachment);
    plugged.push(attachment);
    return { attachment, ...result };
  };
  /** Interface `net1` of the n-th address on VLAN 200, whose gateway is its first address. */
  const net1 = (pod: Pod, n: number, changes: Partial<Attachment> = {}) =>
    attach(pod, n, {
      containerInterface: "net1",
      vlan: 200,
      mac: `0a:58:0a:c8:01:0${n}`,
      addresses: [
        { address: `${SUBNET.ipv4}${n}`, prefixLength: 24, gateway: `${SUBNET.ipv4}1` },
        { address: `${SUBNET.ipv6}${n}`, prefixLength: 64, gateway: `${SUBNET.ipv6}1` },
      ],
      routes: [
        { dst: "0.0.0.0/0", gw: `${SUBNET.ipv4}1` },
        { dst: "198.51.100.0/24", gw: `${SUBNET.ipv4}1` },
      ],
      ...changes,
    });
  const rules = (pod: Pod) =>
    [...pod.run("ip", "rule").split("\n"), ...pod.run("ip", "-6", "rule").split("\n")]
      .filter(line => line.includes(" lookup 1") || line.includes(" lookup 2"))
      .map(line => line.replace(/^.*from (\S+) .*$/, "$1"));
  /** A router with the first address of VLAN 200, and two addresses behind it. */
  const plugRouter = async (pod: Pod) => {
    await plug(net1(pod, 1, { routes: [] }));
    pod.run("ip", "link", "set", "lo", "up");
    pod.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo");
    pod.run("ip", "address", "add", "2001:db8::1/128", "dev", "lo");
  };
  const pingsFrom = (pod: Pod, source: string, address: string) => {
    try {
      return pod.run("ping", "-n", "-c", "1", "-W", "2", "-I", source, address) !== "";
    } catch {
      return false;
    }
  };

  it("answers through its own gateway what came in by it, in both families", async () => {
    using pod = new Pod();
    using router = new Pod();
    await plugRouter(router);
    const { sandboxId } = (await plug(attach(pod, 2))).attachment;
    await plug(net1(pod, 2, { sandboxId }));
    assert.ok(pingsFrom(router, "192.0.2.1", `${SUBNET.ipv4}2`));
    assert.ok(pingsFrom(router, "2001:db8::1", `${SUBNET.ipv6}2`));
    assert.deepEqual(rules(pod), [`${SUBNET.ipv4}2`, `${SUBNET.ipv6}2`]);
    assert.match(pod.run("ip", "route", "show", "default"), /^default via 10.100.0.1 dev eth0/);
  });

  it("lists only the routes that were made, and where", async () => {
    using pod = new Pod();
    const first = await plug(attach(pod, 2));
    assert.deepEqual(first.routes, first.attachment.routes);
    const { attachment, routes } = await plug(net1(pod, 2, { sandboxId: first.attachment.sandboxId }));
    const [table = 0] = routes.flatMap(route => route.table ?? []);
    const [byDefault, specific] = attachment.routes;
    assert.deepEqual(routes, [
      specific,
      { ...byDefault, table },
      { ...specific, table },
      { dst: "::/0", gw: `${SUBNET.ipv6}1`, table },
    ]);
    assert.match(pod.run("ip", "route", "show", "table", String(table)), /^default via 10.200.1.1 dev net1/);
    assert.deepEqual((await datapath.plug(attachment)).routes, routes, "the same when it exists");
  });

  it("is checked for the gateway, also where another interface has the route", async () => {
    using pod = new Pod();
    const { attachment, routes } = await plug(net1(pod, 2));
    const { attachment: first, ...second } = await plug(attach(pod, 2, { sandboxId: attachment.sandboxId }));
    assert.deepEqual(await datapath.check({ ...first, routes: second.routes }), []);
    assert.deepEqual(await datapath.check({ ...attachment, routes }), []);
    const link = pod.run("ip", "-o", "link", "show", "eth0");
    assert.deepEqual((await datapath.plug(first)).routes, second.routes);
    assert.equal(pod.run("ip", "-o", "link", "show", "eth0"), link);
    pod.run("ip", "route", "replace", "default", "via", "10.100.0.1", "dev", "eth0");
    assert.deepEqual(await datapath.check(first), []);
    pod.run("ip", "route", "replace", "default", "via", `${SUBNET.ipv4}9`, "dev", "net1");
    assert.deepEqual(
      (await datapath.check(first)).map(({ expected }) => expected),
      ["0.0.0.0/0 via 10.100.0.1"],
    );
  });

  it("alone in the pod it also has the main table's default route", async () => {
    using pod = new Pod();
    const { routes, attachment } = await plug(net1(pod, 2));
    assert.deepEqual(routes.slice(0, 2), attachment.routes);
    assert.match(pod.run("ip", "route", "show", "default"), /^default via 10.200.1.1 dev net1/);
  });

  it("on the first one's segment, neither answers ARP for the other's address", async () => {
    using pod = new Pod();
    using neighbour = new Pod();
    const { attachment, hostInterface } = await plug(attach(pod, 2));
    const address = { address: "10.100.1.3", prefixLength: 16, gateway: "10.100.0.1" };
    const second = net1(pod, 3, { sandboxId: attachment.sandboxId, vlan: 100, addresses: [address], routes: [] });
    const { hostInterface: hostOfNet1 } = await plug(second);
    await plug(attach(neighbour, 4));
    assert.ok(neighbour.pings("10.100.1.2"));
    assert.ok(neighbour.pings("10.100.1.3"));
    for (const [host, silent] of [
      [hostOfNet1, "10.100.1.3"],
      [hostInterface, "10.100.1.2"],
    ] as const) {
      run("ip", "link", "set", host, "down");
      neighbour.run("ip", "neigh", "flush", "all");
      assert.ok(!neighbour.pings(silent, 1), `the other interface answers for ${silent}`);
      run("ip", "link", "set", host, "up");
    }
  });

  it("is checked with its rules and its table", async () => {
    using pod = new Pod();
    const { attachment, routes } = await plug(net1(pod, 2));
    const table = String(routes.find(route => route.table !== undefined)?.table);
    const check = async () => (await datapath.check(attachment)).map(({ expected }) => expected);
    assert.deepEqual(await check(), []);
    pod.run("ip", "rule", "del", "from", `${SUBNET.ipv4}2`);
    assert.deepEqual(await check(), [`from ${SUBNET.ipv4}2 lookup ${table}`]);
    pod.run("ip", "route", "flush", "table", table);
    assert.deepEqual(await check(), [`${SUBNET.ipv4}2/24`, "0.0.0.0/0", `from ${SUBNET.ipv4}2 lookup ${table}`]);
    await datapath.plug(attachment);
    assert.deepEqual(await check(), []);
    assert.deepEqual(rules(pod), [`${SUBNET.ipv4}2`, `${SUBNET.ipv6}2`]);
    // As an earlier version plugged it.
    for (const family of ["-4", "-6"]) {
      pod.run("ip", family, "rule", "del", "table", table);
      pod.run("ip", family, "route", "flush", "table", table);
    }
    assert.deepEqual(await check(), []);
  });

  it("leaves no rule in a pod that lives on, after a failed plug and after an unplug", async () => {
    using pod = new Pod();
    for (const step of ["route"] as const) {
      failsAt = step;
      await assert.rejects(datapath.plug(net1(pod, 2)), new RegExp(`injected at ${step}`));
      assert.deepEqual([rules(pod), pod.links()], [[], []]);
    }
    failsAt = undefined;
    const attachment = net1(pod, 2);
    await datapath.plug(attachment);
    assert.equal(rules(pod).length, 2);
    await datapath.unplug(attachment.sandboxId, "net1", pod.netns);
    await eventually("the link is deleted", () => pod.links().length === 0);
    assert.deepEqual(rules(pod), []);
    await datapath.plug(attachment);
    assert.equal(await datapath.unplug(attachment.sandboxId, "net1", "/proc/self/no-netns"), true);
  });
});
