import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import type { BridgePlan } from "../../../cni/datapath/bridges/bridge-plan.ts";
import {
  deriveIntegrationBridges,
  findIntegrationBridge,
  type IntegrationBridge,
} from "../../../cni/datapath/bridges/integration-bridges.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { attach, ipv4 } from "./attachment.ts";
import { datapathType, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

type Color = "blue" | "red";

/** One node's bridges: both physical networks, each with one end of its wire to the other node. */
class Node {
  readonly integrations: IntegrationBridge[];
  readonly plan: BridgePlan;

  constructor(base: string, suffix: "a" | "b") {
    this.integrations = deriveIntegrationBridges(base, [
      { physicalNetwork: "blue", bridge: `br-blue-${suffix}` },
      { physicalNetwork: "red", bridge: `br-red-${suffix}` },
    ]);
    const uplinks = ["blue", "red"].map(color => ({ bridge: `br-${color}-${suffix}`, port: `${color}-${suffix}` }));
    this.plan = { integrations: this.integrations, uplinks, datapathType: "auto" };
  }

  bridge(color: Color): string {
    return findIntegrationBridge(this.integrations, color) ?? "";
  }
}

describe("two physical networks", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;
  // Both nodes share one Open vSwitch: only the wires join their bridges.
  const a = new Node("br-int", "a");
  const b = new Node("br-far", "b");

  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
    for (const color of ["blue", "red"]) {
      run("ip", "link", "add", `${color}-a`, "type", "veth", "peer", "name", `${color}-b`);
      for (const end of [`${color}-a`, `${color}-b`]) {
        run("sysctl", "-qw", `net.ipv6.conf.${end}.disable_ipv6=1`);
        run("ip", "link", "set", end, "up");
      }
    }
    for (const { plan } of [a, b]) await datapath.ensureBridges(plan);
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });

  const plugged: Attachment[] = [];
  const unplugAll = async () => {
    for (const { sandboxId } of plugged.splice(0)) await datapath.unplug(sandboxId, "eth0", undefined);
  };
  /** Plugs an IPv4 pod that sends nothing by itself. */
  const plug = async (pod: Pod, node: Node, color: Color, n: number, changes: Partial<Attachment> = {}) => {
    pod.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1");
    const mac = `0a:58:${color === "blue" ? "b0" : "ed"}:64:01:0${n}`;
    const attachment = attach(pod, n, {
      bridge: node.bridge(color),
      mac,
      addresses: [ipv4(n)],
      routes: [],
      ...changes,
    });
    await datapath.plug(attachment);
    plugged.push(attachment);
    return attachment;
  };
  const neighbour = (pod: Pod, n: number) => pod.run("ip", "neigh", "show", ipv4(n).address);
  const received = (pod: Pod): number => {
    const [link] = JSON.parse(pod.run("ip", "-j", "-s", "link", "show", "eth0")) as [
      { stats64: { rx: { packets: number } } },
    ];
    return link.stats64.rx.packets;
  };
  /** The bridges that a broadcast passes which arrives at this port. */
  const traced = (bridge: string, port: string, vlan: string) => {
    const flow = `in_port=${port},${vlan}dl_src=0a:58:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x0806`;
    const output = ovs.appctl("ofproto/trace", bridge, flow);
    return [...new Set([...output.matchAll(/bridge\("(.+)"\)/g)].map(([, name]) => name))].sort();
  };

  for (const [what, changes] of [
    ["the same VLAN id", { vlan: 100 }],
    ["no VLAN", { vlan: undefined as never }],
  ] as const) {
    it(`stay apart with ${what} and the same addresses on both`, async () => {
      using blueA = new Pod();
      using blueB = new Pod();
      using redA = new Pod();
      using redB = new Pod();
      try {
        await plug(blueA, a, "blue", 1, changes);
        await plug(redA, a, "red", 1, changes);
        const far = [await plug(blueB, b, "blue", 2, changes), await plug(redB, b, "red", 2, changes)] as const;
        assert.ok(blueA.pings(ipv4(2).address));
        assert.ok(redA.pings(ipv4(2).address));
        assert.match(neighbour(blueA, 2), new RegExp(far[0].mac));
        assert.match(neighbour(redA, 2), new RegExp(far[1].mac));
      } finally {
        await unplugAll();
      }
    });
  }

  it("receive no broadcast of each other, and two nodes form no loop", async () => {
    using sender = new Pod();
    const pods = [new Pod(), new Pod(), new Pod()] as const;
    const [blueB, redA, redB] = pods;
    try {
      await plug(sender, a, "blue", 1);
      await plug(blueB, b, "blue", 2);
      await plug(redA, a, "red", 3);
      await plug(redB, b, "red", 4);
      assert.ok(sender.pings(ipv4(2).address));
      const before = pods.map(received);
      assert.ok(!sender.pings("10.100.1.99", 1), "no pod has the address");
      const [blue = 0, ...red] = pods.map((pod, index) => received(pod) - (before[index] ?? 0));
      // The kernel asks for an address three times.
      assert.ok(blue >= 1 && blue <= 3, `${blue} frames for up to 3 broadcasts`);
      assert.deepEqual(red, [0, 0]);
    } finally {
      await unplugAll();
      for (const pod of pods) pod[Symbol.dispose]();
    }
  });

  it("join in no VLAN, known or unknown", () => {
    for (const vlan of ["", "dl_vlan=100,", "dl_vlan=777,"]) {
      for (const node of [a, b]) {
        const suffix = node === a ? "a" : "b";
        for (const color of ["blue", "red"] as const) {
          const expected = [`br-${color}-${suffix}`, node.bridge(color)].sort();
          assert.deepEqual(traced(`br-${color}-${suffix}`, `${color}-${suffix}`, vlan), expected);
        }
      }
    }
  });

  it("are separated where an earlier version patched both to one bridge", async () => {
    using pod = new Pod();
    using peer = new Pod();
    const patch = (bridge: string, port: string, to: string) => [
      ...["--", "add-port", bridge, port, "--", "set", "port", port, "external_ids:mooring-made=true"],
      ...["--", "set", "interface", port, "type=patch", `options:peer=${to}`],
    ];
    ovs.vsctl(
      ...["del-br", a.bridge("red")],
      ...["--", "del-port", "br-red-a", `br-red-a-to-${a.bridge("red")}`],
      ...patch("br-int", "br-int-to-br-red-a", "br-red-a-to-br-int"),
      ...patch("br-red-a", "br-red-a-to-br-int", "br-int-to-br-red-a"),
    );
    try {
      const attachment = await plug(pod, a, "blue", 1);
      await plug(peer, b, "red", 2);
      assert.ok(pod.pings(ipv4(2).address), "one bridge serves both physical networks");
      const index = pod.run("cat", "/sys/class/net/eth0/ifindex");
      const changed = await datapath.ensureBridges(a.plan);
      assert.deepEqual(
        changed.filter(change => change.startsWith("removed")),
        ["removed patch port br-int-to-br-red-a", "removed patch port br-red-a-to-br-int"],
      );
      assert.ok(!pod.pings(ipv4(2).address, 1));
      const moved = { ...attachment, bridge: a.bridge("red") };
      await datapath.replug(moved);
      assert.ok(pod.pings(ipv4(2).address));
      assert.equal(pod.run("cat", "/sys/class/net/eth0/ifindex"), index);
      assert.deepEqual(await datapath.check(moved), []);
      assert.deepEqual(await datapath.ensureBridges(a.plan), []);
    } finally {
      await unplugAll();
    }
  });

  it("are refused, after all else is made, where patch ports of others join them", async () => {
    const patch = (bridge: string, port: string, to: string) => [
      ...["--", "add-port", bridge, port, "--", "set", "interface", port, "type=patch", `options:peer=${to}`],
    ];
    const middle = ["add-br", "br-mid", "--", "set", "bridge", "br-mid", `datapath_type=${datapathType}`];
    ovs.vsctl(
      ...middle,
      ...patch("br-blue-a", "theirs-1", "theirs-2"),
      ...patch("br-mid", "theirs-2", "theirs-1"),
      ...patch("br-mid", "theirs-3", "theirs-4"),
      ...patch("br-red-a", "theirs-4", "theirs-3"),
      ...["--", "del-br", a.bridge("red")],
    );
    const message = /br-blue-a and br-red-a are of different physical networks, .*ovs-vsctl del-port/;
    await assert.rejects(datapath.ensureBridges(a.plan), { name: "DatapathError", step: "bridge", message });
    await datapath.ready([a.bridge("red")]);
    ovs.vsctl("del-br", "br-mid", "--", "del-port", "theirs-1", "--", "del-port", "theirs-4");
    assert.deepEqual(await datapath.ensureBridges(a.plan), []);
  });

  it("are removed with all their bridges", async () => {
    const { removed, kept } = await datapath.removeOwnBridges();
    assert.deepEqual(kept, []);
    assert.ok(removed.includes(`bridge ${a.bridge("red")}`));
    assert.deepEqual(ovs.vsctl("list-br"), "br-int", "which the test had made");
  });
});
