import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { Attachment } from "../../../cni/datapath/attachment.ts";
import { openDatapath } from "../../../cni/datapath/datapath.ts";
import { AddressConflictError } from "../../../cni/datapath/datapath-error.ts";
import { loadLibc } from "../../../cni/datapath/kernel/libc.ts";
import { openNetns } from "../../../cni/datapath/kernel/netns.ts";
import type { NodeDatapath } from "../../../cni/datapath/node-datapath.ts";
import { PacketSocket } from "../../../cni/datapath/probe/packet-socket.ts";
import { ETHERTYPE_ARP } from "../../../cni/datapath/probe/packets.ts";
import { attach, ipv4, ipv6 } from "./attachment.ts";
import { datapathType, Ovs, Pod, run, skip, testTimeoutMs } from "./node.ts";

describe("probe", { skip }, () => {
  let ovs: Ovs;
  let datapath: NodeDatapath;
  const plugged: Attachment[] = [];

  before(async () => {
    ovs = await Ovs.start();
    datapath = openDatapath({ ovsdb: ovs.remote, timeoutMs: testTimeoutMs });
  });
  afterEach(async () => {
    for (const { sandboxId, containerInterface, netns } of plugged.splice(0)) {
      await datapath.unplug(sandboxId, containerInterface, netns);
    }
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });

  /** A machine on the network that the IPAM does not know. */
  const plugMachine = async (machine: Pod, n: number, changes: Partial<Attachment> = {}) => {
    const attachment = attach(machine, n, changes);
    plugged.push(attachment);
    await datapath.plug(attachment);
    return attachment;
  };
  const probe = (addresses: string[], changes: { vlan?: number; mac?: string } = {}) =>
    datapath.probe({ bridge: "br-int", vlan: 100, mac: "0a:58:00:00:00:01", addresses, ...changes });

  it("finds the machine that uses an IPv4 or an IPv6 address, and names its MAC", async () => {
    using machine = new Pod();
    const { mac } = await plugMachine(machine, 1);
    const [v4, v6] = [ipv4(1).address, ipv6(1).address];
    assert.deepEqual(await probe([v4]), { address: v4, mac });
    assert.deepEqual(await probe([v6]), { address: v6, mac });
    assert.deepEqual(await probe([ipv4(2).address, v6]), { address: v6, mac });
  });

  it("finds nothing for a free address, and on another VLAN", async () => {
    using machine = new Pod();
    await plugMachine(machine, 3);
    const used = [ipv4(3).address, ipv6(3).address];
    assert.equal(await probe([ipv4(4).address, ipv6(4).address]), undefined);
    assert.equal(await probe(used, { vlan: 200 }), undefined);
  });

  it("waits for the port's IPv6 address to fall silent where it was before", async () => {
    using machine = new Pod();
    const { mac, sandboxId, netns } = await plugMachine(machine, 11);
    const used = [ipv4(11).address, ipv6(11).address];
    assert.equal(await probe([ipv4(11).address], { mac }), undefined);
    await assert.rejects(probe(used, { mac: mac.toUpperCase() }), /the port itself .* still answers for fd00:100::b /);
    const probing = probe(used, { mac });
    await datapath.unplug(sandboxId, "eth0", netns);
    assert.equal(await probing, undefined);
  });

  it("changes no neighbour's cache", async () => {
    using machine = new Pod();
    await plugMachine(machine, 5);
    const libc = await loadLibc();
    const [{ ifindex = 0 }] = JSON.parse(machine.run("ip", "-j", "link", "show", "eth0"));
    using netns = openNetns(libc, machine.netns);
    using arp = netns.run(() => new PacketSocket(libc, ifindex, ETHERTYPE_ARP));
    await probe([ipv4(6).address, ipv6(6).address]);
    const frames = Array.from(arp.receive(), frame => Buffer.from(frame).toString("hex"));
    assert.equal(frames.filter(frame => /^ffffffffffff.*0806.*000000000000.{8}$/.test(frame)).length, 3);
    assert.doesNotMatch(machine.run("ip", "neigh", "show"), /10\.100\.1\.6|fd00:100::6/);
  });

  it("keeps a pod whose address is in use off the network", async () => {
    using machine = new Pod();
    using pod = new Pod();
    const { mac } = await plugMachine(machine, 7);
    const attachment = attach(pod, 8, { addresses: [ipv4(7), ipv6(8)] });
    const { bridge, vlan = 0 } = attachment;
    const addresses = attachment.addresses.map(({ address }) => address);
    const refused = datapath.plug(attachment, () => datapath.probe({ bridge, vlan, addresses, mac: attachment.mac }));
    await assert.rejects(refused, (error: AddressConflictError) => {
      assert.ok(error instanceof AddressConflictError);
      assert.deepEqual([error.step, error.address, error.mac], ["probe", ipv4(7).address, mac]);
      return true;
    });
    assert.deepEqual(pod.links(), []);
    assert.deepEqual(await datapath.list().then(ports => ports.map(({ sandboxId }) => sandboxId)), [
      plugged[0]?.sandboxId,
    ]);
  });

  it("uses one silent port for each network, and makes it an access port again", async () => {
    await Promise.all([probe([ipv4(9).address]), probe([ipv4(10).address]), probe([ipv4(9).address], { vlan: 0 })]);
    const ports = ovs.vsctl("list-ports", "br-int").split("\n");
    const probes = ports.filter(name => name.startsWith("mprb")).sort();
    assert.equal(probes.filter(name => name.endsWith("-100")).length, 1);
    const [name = ""] = probes.filter(each => each.endsWith("-100"));
    assert.equal(run("cat", `/proc/sys/net/ipv4/conf/${name}/arp_ignore`).trim(), "8");
    assert.doesNotMatch(run("ip", "address", "show", name), /inet/);

    ovs.vsctl("clear", "port", name, "tag", "vlan_mode");
    await probe([ipv4(9).address]);
    const row = ovs.vsctl("get", "port", name, "tag", "vlan_mode", "trunks");
    assert.deepEqual(row.trim().split("\n"), ["100", "access", "[]"]);
  });

  it("leaves nothing when Mooring's bridges are removed", async () => {
    ovs.vsctl("set", "bridge", "br-int", "external_ids:mooring-made=true");
    await probe([ipv4(9).address]);
    assert.deepEqual(await datapath.removeOwnBridges(), { removed: ["bridge br-int"], kept: [] });
    ovs.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", `datapath_type=${datapathType}`);
  });

  it("says what is wrong when the bridge is missing", async () => {
    const wanted = { bridge: "br-none", vlan: 1, addresses: ["10.0.0.1"], mac: "0a:58:00:00:00:01" };
    await assert.rejects(datapath.probe(wanted), /the OVS bridge br-none does not exist/);
  });
});
