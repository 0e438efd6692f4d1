import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DatapathError } from "../../../cni/datapath/datapath-error.ts";
import { Harness } from "./harness.ts";

describe("STATUS and GC", () => {
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
