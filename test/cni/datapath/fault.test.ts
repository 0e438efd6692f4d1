import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Datapath } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import { attach, hostLinks, ipv4, ipv6 } from "./attachment.ts";
import { datapathType, eventually, Ovs, Pod, skip, testTimeoutMs } from "./node.ts";

describe("the datapath when something is wrong", { skip }, () => {
  let ovs: Ovs;
  let datapath: Datapath;
  let directory: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "mooring-fault-"));
    ovs = await Ovs.start();
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
  });

  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  it("names a missing bridge and creates nothing", async () => {
    using pod = new Pod();
    const failure = {
      name: "DatapathError",
      step: "bridge",
      message: /br-absent does not exist.*ovs-vsctl add-br br-absent/,
    };
    await assert.rejects(datapath.plug(attach(pod, 1, { bridge: "br-absent" })), failure);
    await assert.rejects(datapath.ready(["br-int", "br-absent"]), failure);
    await datapath.ready(["br-int"]);
    assert.deepEqual([pod.links(), hostLinks(), ovs.ports()], [[], [], []]);
  });

  it("names a netns that is missing, of another kind, or the host's own", async () => {
    using pod = new Pod();
    const file = join(directory, "file");
    writeFileSync(file, "");
    const plugIn = (netns: string) => datapath.plug(attach(pod, 1, { netns }));
    const step = "netns";
    await assert.rejects(plugIn("/run/netns/gone"), {
      step,
      message: "there is no network namespace at /run/netns/gone",
    });
    await assert.rejects(plugIn(file), { step, message: `${file} is not a network namespace` });
    await assert.rejects(plugIn("/proc/self/ns/uts"), {
      step,
      message: "/proc/self/ns/uts is not a network namespace",
    });
    await assert.rejects(plugIn("/proc/thread-self/ns/net"), { step, message: /host's own network namespace/ });
    assert.deepEqual([hostLinks(), ovs.ports()], [[], []]);
  });

  it("rolls back what the kernel or OVS rejects", async () => {
    using pod = new Pod();
    pod.run("ip", "link", "add", "taken", "type", "veth", "peer", "name", "taken-peer");
    const before = pod.links();
    type Case = [Parameters<typeof attach>[2], RegExp];
    const cases: Case[] = [
      [{ containerInterface: "taken" }, /taken already exists in /],
      ...["../../lo", "net%d", "all", "default", "à0", "€€€€€€"].map(
        (containerInterface): Case => [
          { containerInterface },
          new RegExp(`"${containerInterface}" is not an interface name: 1 to 15 bytes without space`),
        ],
      ),
      [{ addresses: [{ address: "10.1.2.300", prefixLength: 24 }] }, /"10.1.2.300" is not an IP address/],
      [{ addresses: [ipv4(1), ipv4(1)] }, /cannot set 10.100.1.1\/16 on eth0 in .*EEXIST/],
      [{ routes: [{ dst: "10.0.0.0/33" }] }, /route "10.0.0.0\/33" is not a CIDR/],
      [{ routes: [{ dst: "0.0.0.0/0", gw: "fd00::1" }] }, /"fd00::1" is not a gateway of its family/],
      [{ routes: [{ dst: "0.0.0.0/0", gw: "192.0.2.1" }] }, /cannot add the route 0.0.0.0\/0 via 192.0.2.1/],
      [{ vlan: 5000 }, /OVSDB rejected adding .*5000/],
      [{ mac: "01:00:5e:00:00:01" }, /cannot create eth0.*EADDRNOTAVAIL/],
    ];
    for (const [changes, message] of cases) {
      await assert.rejects(datapath.plug(attach(pod, 1, changes)), { name: "DatapathError", message });
      assert.deepEqual([pod.links(), hostLinks(), ovs.ports()], [before, [], []], String(message));
    }
  });

  it("adds routes in order, so that a gateway may be outside the subnet", async () => {
    using pod = new Pod();
    const addresses = [
      { address: "10.100.1.1", prefixLength: 32 },
      { address: "fd00:100::1", prefixLength: 128 },
    ];
    const routes = [{ dst: "192.0.2.1/32" }, { dst: "0.0.0.0/0", gw: "192.0.2.1" }, { dst: "::/0", gw: "fe80::1" }];
    const attachment = attach(pod, 1, { addresses, routes });
    await datapath.plug(attachment);
    assert.deepEqual(await datapath.check(attachment), []);
    await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
  });

  it("describes each difference from the attachment", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 1);
    const { hostInterface } = await datapath.plug(attachment);
    pod.run("ip", "address", "delete", "10.100.1.1/16", "dev", "eth0");
    pod.run("ip", "link", "set", "eth0", "mtu", "1400", "address", "0a:58:00:00:00:01");
    pod.run("ip", "-6", "route", "delete", "default");
    ovs.vsctl("set", "port", hostInterface, "tag=7");
    const found = (await datapath.check(attachment)).map(
      ({ what, expected, found }) => `${what}: ${expected}, ${found}`,
    );
    assert.deepEqual(found, [
      `VLAN of ${hostInterface}: tag=100 vlan_mode=access trunks=none, tag=7 vlan_mode=access trunks=none`,
      `MAC of eth0: ${attachment.mac}, 0a:58:00:00:00:01`,
      "MTU of eth0: 1500, 1400",
      "address on eth0: 10.100.1.1/16, nothing",
      "route in the pod: 0.0.0.0/0 via 10.100.0.1, nothing",
      "route in the pod: ::/0 via fd00:100::ffff, nothing",
    ]);
    await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
    assert.deepEqual(
      (await datapath.check(attachment)).map(({ what, found }) => `${what}: ${found}`),
      ["host interface: nothing", "OVS port: nothing"],
    );
  });

  it("deletes the link without OVS, names the failure, and reconnects later", async () => {
    using pod = new Pod();
    const attachment = attach(pod, 1);
    await datapath.plug(attachment);
    await ovs.stopDatabase();
    const failure = { name: "DatapathError", step: "ovs", message: /db\.sock.*is ovsdb-server running/ };
    await assert.rejects(datapath.ready(["br-int"]), failure);
    await assert.rejects(datapath.plug(attach(pod, 2)), failure);
    await assert.rejects(datapath.unplug(attachment.sandboxId, "eth0", pod.netns), failure);
    assert.deepEqual([pod.links(), hostLinks()], [[], []]);
    await ovs.startDatabase();
    await eventually("ovsdb-server answers", () =>
      datapath.ready(["br-int"]).then(
        () => true,
        () => false,
      ),
    );
    assert.equal(await datapath.unplug(attachment.sandboxId, "eth0", pod.netns), true);
    assert.deepEqual(ovs.ports(), []);
  });

  it("rolls back at its deadline when ovs-vswitchd does not act", async () => {
    using pod = new Pod();
    await using impatient = openDatapath({ ovsdb: ovs.remote, timeoutMs: 700 });
    await ovs.stopSwitch();
    const failure = { name: "DatapathError", message: /within 700 ms.*running/ };
    await assert.rejects(impatient.plug(attach(pod, 1)), failure);
    assert.deepEqual([pod.links(), hostLinks(), ovs.ports()], [[], [], []]);
    await ovs.startSwitch();
    const attachment = attach(pod, 2);
    await datapath.plug(attachment);
    await datapath.unplug(attachment.sandboxId, "eth0", pod.netns);
  });

  it("fails at its deadline on a silent OVSDB, at once on a damaged stream", async () => {
    using pod = new Pod();
    const silent = createServer(() => undefined).listen(join(directory, "silent"));
    const garbled = createServer(socket => socket.end("HTTP/1.1 400 Bad Request\r\n")).listen(
      join(directory, "garbled"),
    );
    await Promise.all([once(silent, "listening"), once(garbled, "listening")]);
    for (const [server, message] of [
      ["silent", /no answer to transact within 300 ms/],
      ["garbled", /expected a JSON object/],
    ] as const) {
      await using broken = openDatapath({ ovsdb: `unix:${directory}/${server}`, timeoutMs: 300 });
      await assert.rejects(broken.plug(attach(pod, 1)), { name: "DatapathError", step: "ovs", message });
    }
    silent.close();
    garbled.close();
  });

  it("keeps pods connected when OVS restarts, with and without its database", async () => {
    using a = new Pod();
    using b = new Pod();
    const attachments = [attach(a, 11), attach(b, 12)];
    for (const attachment of attachments) await datapath.plug(attachment);
    const assertConnected = () =>
      eventually("pods reach each other", () => a.pings(ipv4(12).address, 1) && b.pings(ipv6(11).address, 1));
    await assertConnected();

    await ovs.stopSwitch();
    await ovs.startSwitch();
    await assertConnected();
    for (const attachment of attachments) {
      await eventually("ofports are back", async () => (await datapath.check(attachment)).length === 0);
    }

    await ovs.stopSwitch();
    await ovs.stopDatabase();
    await ovs.startDatabase();
    await ovs.startSwitch();
    await assertConnected();

    // A wiped database: the ports are gone, and a repeated plug brings each back.
    for (const { hostInterface } of await datapath.list()) ovs.vsctl("del-port", "br-int", hostInterface);
    ovs.vsctl(
      "del-br",
      "br-int",
      "--",
      "add-br",
      "br-int",
      "--",
      "set",
      "bridge",
      "br-int",
      `datapath_type=${datapathType}`,
    );
    assert.ok(!a.pings(ipv4(12).address, 1));
    for (const attachment of attachments) await datapath.plug(attachment);
    await assertConnected();
    for (const { sandboxId } of attachments) await datapath.unplug(sandboxId, "eth0", undefined);
  });
});
