import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DatapathError } from "../../../cni/datapath/datapath-error.ts";
import { Harness } from "./harness.ts";

describe("CHECK, STATUS and GC", () => {
  for (const cniVersion of ["0.4.0", "1.0.0", "1.1.0"]) {
    it(`CHECK of ${cniVersion} finds no difference after ADD`, async () => {
      await using harness = await Harness.start();
      const prevResult = await harness.succeed("ADD", { cniVersion });
      assert.equal(await harness.succeed("CHECK", { cniVersion, prevResult }), undefined);
    });
  }

  it("CHECK names every difference between the answer, the IPAM and the datapath", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD", { retain: "sticky" });
    prevResult.ips[0].address = "10.100.1.99/16";
    prevResult.interfaces[1].mac = "0a:58:0a:64:01:63";
    await harness.succeed("ADD", { retain: "sticky", host: "node-b" }, { CNI_CONTAINERID: "sandbox-2" });
    harness.node.differences = [{ what: "link eth0", expected: "up", found: "down" }];
    const error = await harness.fail("CHECK", { prevResult });
    assert.equal(error.code, 121);
    assert.equal(
      error.msg,
      "c1/default/web-0: the port's binding should be sandbox-1/eth0 on node-a, is sandbox-2/eth0 on node-b; " +
        "the MAC of eth0 should be 0a:58:0a:64:01:0a, is 0a:58:0a:64:01:63; " +
        "the addresses of eth0 should be 10.100.1.10/16, is 10.100.1.99/16; link eth0 should be up, is down",
    );
  });

  it("CHECK passes when a later plugin added to the result", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    prevResult.interfaces.push({ name: "tun0", sandbox: "/proc/self/ns/net" });
    prevResult.ips.push({ address: "10.9.9.9/32", interface: 1 });
    prevResult.routes.push({ dst: "10.9.0.0/16" });
    await harness.succeed("CHECK", { prevResult });
  });

  it("CHECK names a port that the IPAM does not have", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    harness.ipam.ports.clear();
    const error = await harness.fail("CHECK", { prevResult });
    assert.equal(error.msg, "the IPAM has no port c1/default/web-0: delete the pod to have it created again");
  });

  it("CHECK names an interface that prevResult lacks", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    const error = await harness.fail("CHECK", { prevResult: { interfaces: [] } });
    assert.match(error.msg, /prevResult.interfaces should be eth0 in \/proc\/self\/ns\/net, is no such interface/);
  });

  it("STATUS succeeds when OVS and IPAM answer", async () => {
    await using harness = await Harness.start();
    const env = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined, CNI_ARGS: undefined };
    assert.deepEqual(await harness.call("STATUS", {}, env), { stdout: "", exitCode: 0 });
  });

  it("STATUS fails with 50 without IPAM, 51 without OVS, and names every failure", async () => {
    await using harness = await Harness.start();
    const conf = { ipamServer: "http://127.0.0.1:9" };
    const absent = await harness.fail("STATUS", conf);
    assert.equal(absent.code, 50);
    assert.match(absent.msg, /^the IPAM at http:\/\/127.0.0.1:9 cannot be reached/);
    harness.node.failures.ready = new DatapathError("bridge", "there is no bridge br-int");
    const limited = await harness.fail("STATUS");
    assert.deepEqual([limited.code, limited.msg], [51, "there is no bridge br-int"]);
    assert.match((await harness.fail("STATUS", conf)).msg, /^there is no bridge br-int; the IPAM at /);
  });

  it("GC removes and releases unlisted attachments of its network only", async () => {
    await using harness = await Harness.start();
    const add = (id: string, conf: object = {}) =>
      harness.succeed("ADD", conf, { CNI_CONTAINERID: id, CNI_ARGS: undefined });
    await add("stays");
    await add("goes");
    await add("other", { name: "another-network" });
    harness.node.plugged.set("neutron", {
      hostInterface: "tap0",
      bridge: "br-int",
      sandboxId: "vm",
      containerInterface: "eth0",
      isFenced: false,
      ofport: 1,
      vlan: 1,
      externalIds: { "iface-id": "vm" },
    });
    await harness.succeed("GC", { "cni.dev/valid-attachments": [{ containerID: "stays", ifname: "eth0" }] });
    assert.deepEqual([...harness.node.plugged.keys()].sort(), ["neutron", "other/eth0", "stays/eth0"]);
    assert.deepEqual([...harness.ipam.ports.keys()].sort(), ["c1/containers/other", "c1/containers/stays"]);
  });

  it("GC keeps the listed interface of a sandbox when it removes another", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    await harness.succeed("ADD", {}, { CNI_IFNAME: "net1" });
    await harness.succeed("GC", { "cni.dev/valid-attachments": [{ containerID: "sandbox-1", ifname: "net1" }] });
    assert.deepEqual([...harness.node.plugged.keys()], ["sandbox-1/net1"]);
  });

  it("GC continues after a failure and names what it could not collect", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    harness.node.failures.unplug = new DatapathError("unplug", "busy");
    const error = await harness.fail("GC", { "cni.dev/valid-attachments": [] });
    assert.deepEqual([error.code, error.msg], [11, "not collected: sandbox-1/eth0: busy"]);
    assert.equal(harness.ipam.ports.size, 1);
  });

  it("GC accepts the older key of the list of attachments", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    await harness.succeed("GC", { "cni.dev/attachments": [{ containerID: "sandbox-1", ifname: "eth0" }] });
    assert.equal(harness.node.plugged.size, 1);
  });
});
