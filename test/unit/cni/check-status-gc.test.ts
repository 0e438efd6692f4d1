import assert from "node:assert/strict";
import { test } from "node:test";
import { DatapathError } from "../../../cni/datapath/datapath-error.ts";
import { Harness } from "./harness.ts";

for (const cniVersion of ["0.4.0", "1.0.0", "1.1.0"]) {
  test(`CHECK of ${cniVersion} right after ADD finds nothing`, async () => {
    await using bench = await Harness.start();
    const prevResult = await bench.succeed("ADD", { cniVersion });
    assert.equal(await bench.succeed("CHECK", { cniVersion, prevResult }), undefined);
  });
}

test("CHECK names every difference between the answer, the IPAM and the datapath", async () => {
  await using bench = await Harness.start();
  const prevResult = await bench.succeed("ADD", { retain: "sticky" });
  prevResult.ips[0].address = "10.100.1.99/16";
  prevResult.interfaces[1].mac = "0a:58:0a:64:01:63";
  await bench.succeed("ADD", { retain: "sticky", host: "node-b" }, { CNI_CONTAINERID: "sandbox-2" });
  bench.node.differences = [{ what: "link eth0", expected: "up", found: "down" }];
  const error = await bench.fail("CHECK", { prevResult });
  assert.equal(error.code, 121);
  assert.equal(
    error.msg,
    "c1/default/web-0: the port's binding should be sandbox-1/eth0 on node-a, is sandbox-2/eth0 on node-b; " +
      "the MAC of eth0 should be 0a:58:0a:64:01:0a, is 0a:58:0a:64:01:63; " +
      "the addresses of eth0 should be 10.100.1.10/16, is 10.100.1.99/16; link eth0 should be up, is down",
  );
});

test("CHECK passes when a later plugin added to the result", async () => {
  await using bench = await Harness.start();
  const prevResult = await bench.succeed("ADD");
  prevResult.interfaces.push({ name: "tun0", sandbox: "/proc/self/ns/net" });
  prevResult.ips.push({ address: "10.9.9.9/32", interface: 1 });
  prevResult.routes.push({ dst: "10.9.0.0/16" });
  await bench.succeed("CHECK", { prevResult });
});

test("CHECK of a port that the IPAM does not have says so", async () => {
  await using bench = await Harness.start();
  const prevResult = await bench.succeed("ADD");
  bench.ipam.ports.clear();
  const error = await bench.fail("CHECK", { prevResult });
  assert.equal(error.msg, "the IPAM has no port c1/default/web-0: delete the pod, so that it is made anew");
});

test("CHECK of a result without our interface says so", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  const error = await bench.fail("CHECK", { prevResult: { interfaces: [] } });
  assert.match(error.msg, /prevResult.interfaces should be eth0 in \/proc\/self\/ns\/net, is no such interface/);
});

test("STATUS is silent when an ADD would find its OVS and its IPAM", async () => {
  await using bench = await Harness.start();
  const env = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined, CNI_ARGS: undefined };
  assert.deepEqual(await bench.call("STATUS", {}, env), { stdout: "", exitCode: 0 });
});

test("STATUS says 50 without the IPAM, 51 without OVS, and all that is wrong", async () => {
  await using bench = await Harness.start();
  const conf = { ipamServer: "http://127.0.0.1:9" };
  const absent = await bench.fail("STATUS", conf);
  assert.equal(absent.code, 50);
  assert.match(absent.msg, /^the IPAM at http:\/\/127.0.0.1:9 cannot be reached/);
  bench.node.failures.ready = new DatapathError("bridge", "there is no bridge br-int");
  const limited = await bench.fail("STATUS");
  assert.deepEqual([limited.code, limited.msg], [51, "there is no bridge br-int"]);
  assert.match((await bench.fail("STATUS", conf)).msg, /^there is no bridge br-int; the IPAM at /);
});

test("GC removes and releases what is not listed, and nothing of anybody else's", async () => {
  await using bench = await Harness.start();
  const add = (id: string, conf: object = {}) =>
    bench.succeed("ADD", conf, { CNI_CONTAINERID: id, CNI_ARGS: undefined });
  await add("stays");
  await add("goes");
  await add("other", { name: "another-network" });
  bench.node.plugged.set("neutron", {
    hostInterface: "tap0",
    bridge: "br-int",
    sandboxId: "vm",
    containerInterface: "eth0",
    ofport: 1,
    vlan: 1,
    externalIds: { "iface-id": "vm" },
  });
  await bench.succeed("GC", { "cni.dev/valid-attachments": [{ containerID: "stays", ifname: "eth0" }] });
  assert.deepEqual([...bench.node.plugged.keys()].sort(), ["neutron", "other/eth0", "stays/eth0"]);
  assert.deepEqual([...bench.ipam.ports.keys()].sort(), ["c1/containers/other", "c1/containers/stays"]);
});

test("GC of an interface spares its sandbox's other interface", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  await bench.succeed("ADD", {}, { CNI_IFNAME: "net1" });
  await bench.succeed("GC", { "cni.dev/valid-attachments": [{ containerID: "sandbox-1", ifname: "net1" }] });
  assert.deepEqual([...bench.node.plugged.keys()], ["sandbox-1/net1"]);
});

test("GC goes on after a failure and then names what it could not collect", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  bench.node.failures.unplug = new DatapathError("unplug", "busy");
  const error = await bench.fail("GC", { "cni.dev/valid-attachments": [] });
  assert.deepEqual([error.code, error.msg], [11, "not collected: sandbox-1/eth0: busy"]);
  assert.equal(bench.ipam.ports.size, 1);
});

test("GC takes the older name of the list of attachments", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  await bench.succeed("GC", { "cni.dev/attachments": [{ containerID: "sandbox-1", ifname: "eth0" }] });
  assert.equal(bench.node.plugged.size, 1);
});
