import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach, hostLinks, ipv4, ipv6 } from "./attachment.ts";
import { eventually, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

describe("plug", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;

  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
  });

  // A port whose device went with its pod costs OVS time at every change to come: it looks for a kernel module of that name.
  const plugged: Attachment[] = [];
  const plug = (attachment: Attachment) => {
    plugged.push(attachment);
    return datapath.plug(attachment);
  };
  afterEach(async () => {
    for (const { sandboxId, containerInterface, netns } of plugged.splice(0)) {
      await datapath.unplug(sandboxId, containerInterface, netns);
    }
  });

  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });

  it("lets dual-stack pods reach each other in both families as soon as it returns", async () => {
    using a = new Pod();
    using b = new Pod();
    await plug(attach(a, 1));
    await plug(attach(b, 2));
    assert.ok(a.pings(ipv4(2).address), "IPv4");
    assert.ok(a.pings(ipv6(2).address), "IPv6");
  });

  it("plugs IPv4-only and IPv6-only pods", async () => {
    using a = new Pod();
    using b = new Pod();
    using c = new Pod();
    using d = new Pod();
    await plug(attach(a, 3, { addresses: [ipv4(3)], routes: [{ dst: "0.0.0.0/0", gw: "10.100.0.1" }] }));
    await plug(attach(b, 4, { addresses: [ipv4(4)], routes: [] }));
    await plug(attach(c, 5, { addresses: [ipv6(5)], routes: [{ dst: "::/0", gw: "fd00:100::ffff" }] }));
    await plug(attach(d, 6, { addresses: [ipv6(6)], routes: [] }));
    assert.ok(a.pings(ipv4(4).address));
    assert.ok(c.pings(ipv6(6).address));
    assert.match(a.run("ip", "route"), /^default via 10\.100\.0\.1 dev eth0/m);
    assert.match(c.run("ip", "-6", "route"), /^default via fd00:100::ffff dev eth0/m);
    assert.doesNotMatch(c.run("ip", "-4", "address"), /eth0/);
  });

  it("sets an IPv6 address in a pod whose runtime disabled IPv6", async () => {
    using a = new Pod();
    using b = new Pod();
    a.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1");
    await plug(attach(a, 7));
    await plug(attach(b, 8));
    assert.ok(a.pings(ipv6(8).address));
  });

  it("keeps VLANs apart", async () => {
    using a = new Pod();
    using b = new Pod();
    using c = new Pod();
    await plug(attach(a, 9, { vlan: 100 }));
    await plug(attach(b, 10, { vlan: 200 }));
    await plug(attach(c, 11, { vlan: 200 }));
    assert.ok(b.pings(ipv4(11).address));
    assert.ok(!a.pings(ipv4(11).address, 1));
    assert.ok(!a.pings(ipv6(11).address, 1));
  });

  it("keeps a pod of a flat network out of every VLAN", async () => {
    using a = new Pod();
    using b = new Pod();
    using c = new Pod();
    const { vlan: _, ...untagged } = attach(a, 12);
    const { hostInterface, ofport } = await plug(untagged);
    assert.deepEqual(ovs.access(hostInterface), { tag: "0", vlan_mode: "access", trunks: "[]" });
    const { vlan: __, ...peer } = attach(b, 16);
    await plug(peer);
    const tagged = await plug(attach(c, 17, { vlan: 200 }));
    assert.ok(a.pings(ipv4(16).address), "the same flat network answers");
    // As a trunk, the pod would reach VLAN 200 by tagging its own frames, and receive every VLAN's broadcasts.
    const broadcast = "dl_src=0a:58:0a:64:01:0c,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x0806";
    assert.equal(ovs.trace(`in_port=${ofport},dl_vlan=200,${broadcast}`), "drop");
    const from200 = ovs.trace(`in_port=${tagged.ofport},${broadcast}`).split(",");
    assert.ok(!from200.includes(String(ofport)), `VLAN 200 is not sent to the flat port: ${from200}`);
  });

  for (const [what, ...columns] of [
    ["another tag", "tag=200"],
    ["native-untagged", "vlan_mode=native-untagged"],
    ["a trunk", "trunks=100,200", "vlan_mode=trunk"],
  ] as const) {
    it(`reports and repairs a port that was made ${what}`, async () => {
      using a = new Pod();
      const attachment = attach(a, 18);
      const { hostInterface } = await plug(attachment);
      ovs.vsctl("set", "port", hostInterface, ...columns);
      const [difference] = await datapath.check(attachment);
      assert.equal(difference?.what, `VLAN of ${hostInterface}`);
      assert.equal(difference?.expected, "tag=100 vlan_mode=access trunks=none");
      assert.match((await datapath.list())[0]?.wrongVlan ?? "", /not tag=100 vlan_mode=access trunks=none$/);
      await datapath.replug(attachment);
      assert.deepEqual(await datapath.check(attachment), []);
      assert.deepEqual(ovs.access(hostInterface), { tag: "100", vlan_mode: "access", trunks: "[]" });
    });
  }

  it("carries TCP in both directions and families, megabytes of it", async () => {
    using a = new Pod();
    using b = new Pod();
    await plug(attach(a, 13));
    await plug(attach(b, 14));
    const peer = `${import.meta.dirname}/tcp-peer.ts`;
    const server = b.spawn(process.execPath, peer, "serve", "7000");
    try {
      await once(server.stdout ?? server, "data");
      a.run(process.execPath, peer, "send", ipv4(14).address, "7000", String(4 << 20));
      a.run(process.execPath, peer, "send", ipv6(14).address, "7000", String(4 << 20));
    } finally {
      const exited = once(server, "exit");
      server.kill();
      await exited;
    }
  });

  it("announces a moved address, so that neighbours update its MAC", async () => {
    using old = new Pod();
    using neighbour = new Pod();
    using moved = new Pod();
    const first = attach(old, 15);
    await plug(first);
    await plug(attach(neighbour, 16));
    assert.ok(neighbour.pings(ipv4(15).address));
    assert.ok(neighbour.pings(ipv6(15).address));
    await datapath.unplug(first.sandboxId, "eth0", old.netns);
    const mac = "0a:58:0a:64:01:99";
    await plug(attach(moved, 15, { mac }));
    await eventually("gratuitous ARP", () => neighbour.run("ip", "neigh", "show", ipv4(15).address).includes(mac));
    await eventually("neighbour advertisement", () =>
      neighbour.run("ip", "neigh", "show", ipv6(15).address).includes(mac),
    );
    await eventually("the switch knows the MAC", () => ovs.appctl("fdb/show", "br-int").includes(mac));
  });

  it("makes IPv6 addresses usable at once, without the kernel's own detection", async () => {
    using a = new Pod();
    await plug(attach(a, 17));
    const shown = a.run("ip", "-6", "address", "show", "scope", "global");
    assert.match(shown, /nodad/);
    assert.doesNotMatch(shown, /tentative/);
  });

  it("writes the external_ids of SDN controllers, and sets MAC and MTU", async () => {
    using a = new Pod();
    const attachment = attach(a, 20, { mtu: 1400 });
    const { hostInterface, hostMac, ofport } = await plug(attachment);
    const ids = ovs.vsctl("get", "interface", hostInterface, "external_ids");
    for (const expected of [
      'iface-id="port-20"',
      `attached-mac="${attachment.mac}"`,
      `mooring-sandbox=${attachment.sandboxId}`,
      "mooring-interface=eth0",
      'mooring-epoch="1"',
    ]) {
      assert.ok(ids.replaceAll('"', "").includes(expected.replaceAll('"', "")), `${expected} in ${ids}`);
    }
    assert.equal(ovs.vsctl("get", "interface", hostInterface, "ofport"), String(ofport));
    assert.equal(ovs.vsctl("get", "port", hostInterface, "tag"), "100");
    const [link] = JSON.parse(a.run("ip", "-j", "link", "show", "eth0")) as [{ address: string; mtu: number }];
    assert.deepEqual([link.address, link.mtu], [attachment.mac, 1400]);
    const [host] = JSON.parse(run("ip", "-j", "link", "show", hostInterface)) as [
      { address: string; mtu: number; ifalias: string },
    ];
    assert.deepEqual([host.address, host.mtu, host.ifalias], [hostMac, 1400, `mooring:${attachment.sandboxId}/eth0`]);
    assert.equal(
      run("ip", "address", "show", "dev", hostInterface).includes("inet"),
      false,
      "the host takes no address",
    );
  });

  it("changes nothing but new external_ids when repeated", async () => {
    using a = new Pod();
    const attachment = attach(a, 21);
    const first = await plug(attachment);
    const before = a.run("ip", "-j", "link", "show", "eth0");
    assert.deepEqual(await plug(attachment), first);
    assert.equal(a.run("ip", "-j", "link", "show", "eth0"), before);
    const moved = { ...attachment, externalIds: { ...attachment.externalIds, "mooring-epoch": "2" } };
    assert.deepEqual(await plug(moved), first);
    assert.match(ovs.vsctl("get", "interface", first.hostInterface, "external_ids"), /mooring-epoch="2"/);
    assert.deepEqual(await datapath.check(moved), []);
  });

  it("repairs a missing port, address or link, and a wrong VLAN", async () => {
    using a = new Pod();
    using b = new Pod();
    await plug(attach(b, 23));
    const attachment = attach(a, 22);
    const { hostInterface } = await plug(attachment);
    const damages: [string, () => void][] = [
      ["the port is gone", () => ovs.vsctl("del-port", "br-int", hostInterface)],
      ["an address is gone", () => a.run("ip", "address", "flush", "dev", "eth0")],
      ["another VLAN", () => ovs.vsctl("set", "port", hostInterface, "tag=300")],
      ["the link is down", () => a.run("ip", "link", "set", "eth0", "down")],
      ["the link is gone", () => run("ip", "link", "delete", hostInterface)],
      ["the alias was never set", () => run("ip", "link", "set", hostInterface, "alias", "")],
    ];
    for (const [what, damage] of damages) {
      damage();
      assert.notDeepEqual(await datapath.check(attachment), [], `${what}: seen by check`);
      await plug(attachment);
      assert.deepEqual(await datapath.check(attachment), [], `${what}: repaired`);
      assert.ok(a.pings(ipv4(23).address), `${what}: reachable again`);
    }
    assert.equal(hostLinks().filter(name => name === hostInterface).length, 1);
  });

  it("plugs interfaces of any name that the kernel allows", async () => {
    using pod = new Pod();
    for (const [index, containerInterface] of ["net+1", "größe0", "a#b~c!d$e", "..."].entries()) {
      const attachment = attach(pod, 80 + index, { containerInterface, routes: [] });
      await plug(attachment);
      assert.deepEqual(await datapath.check(attachment), [], containerInterface);
      assert.equal(await datapath.unplug(attachment.sandboxId, containerInterface, pod.netns), true);
    }
    assert.deepEqual([pod.links(), ovs.ports()], [[], []]);
  });

  it("keeps the default route when it plugs a pod's second interface", async () => {
    using a = new Pod();
    const first = attach(a, 24);
    await plug(first);
    const second = attach(a, 25, {
      sandboxId: first.sandboxId,
      containerInterface: "net1",
      vlan: 200,
      addresses: [{ address: "10.200.1.25", prefixLength: 16 }],
      routes: [{ dst: "0.0.0.0/0", gw: "10.200.0.1" }],
    });
    await plug(second);
    assert.match(a.run("ip", "route", "show", "default"), /^default via 10\.100\.0\.1 dev eth0[^\n]*\n$/);
    assert.deepEqual(await datapath.check(first), []);
    assert.deepEqual(await datapath.check(second), []);
    assert.equal(await datapath.unplug(first.sandboxId, "net1", a.netns), true);
    assert.deepEqual(a.links(), ["eth0"]);
  });

  it("plugs thirty pods at once, each with its own port and addresses", async () => {
    const pods = Array.from({ length: 30 }, () => new Pod());
    try {
      const attachments = pods.map((pod, index) => attach(pod, 100 + index));
      const results = await Promise.all(attachments.map(attachment => plug(attachment)));
      assert.equal(new Set(results.map(port => port.ofport)).size, 30);
      assert.equal(new Set(results.map(port => port.hostInterface)).size, 30);
      for (const attachment of attachments) assert.deepEqual(await datapath.check(attachment), []);
      assert.ok(pods[0]?.pings(ipv4(129).address));
      const removed = await Promise.all(
        attachments.map(({ sandboxId, netns }) => datapath.unplug(sandboxId, "eth0", netns)),
      );
      assert.ok(removed.every(Boolean));
      const names = new Set(results.map(port => port.hostInterface));
      assert.deepEqual(
        [...hostLinks(), ...ovs.ports()].filter(name => names.has(name)),
        [],
      );
    } finally {
      for (const pod of pods) pod[Symbol.dispose]();
    }
  });
});
