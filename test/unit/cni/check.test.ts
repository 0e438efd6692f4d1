import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { problem } from "../../fakes/ipam-server.ts";
import { Harness } from "./harness.ts";

/** Edits of the network configuration since the ADD; each makes an ADD fail or claim another port. */
const EDITS: Record<string, Record<string, unknown>> = {
  "an unknown key": { colour: "red" },
  "a small MTU": { mtu: 100 },
  "an MTU below IPv6's minimum": { mtu: 1000 },
  "another MAC": { runtimeConfig: { mac: "0a:58:0a:64:01:63" } },
  "another network": { networkSelector: "env=test" },
  "a wrong retention": { retain: "for ever" },
  "wrong bridge mappings": { bridgeMappings: "physnet1" },
  "no type": { type: undefined },
};

describe("CHECK", () => {
  for (const cniVersion of ["0.4.0", "1.0.0", "1.1.0"]) {
    it(`finds no difference after ADD in ${cniVersion}`, async () => {
      await using harness = await Harness.start();
      const prevResult = await harness.succeed("ADD", { cniVersion });
      assert.equal(await harness.succeed("CHECK", { cniVersion, prevResult }), undefined);
    });
  }

  it("names every difference between the result, the binding and the node", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD", { retain: "sticky" });
    prevResult.ips[0].address = "10.100.1.99/16";
    await harness.succeed("ADD", { retain: "sticky", host: "node-b" }, { CNI_CONTAINERID: "sandbox-2" });
    harness.node.differences = [{ what: "link eth0", expected: "up", found: "down" }];
    const error = await harness.fail("CHECK", { prevResult });
    assert.equal(error.code, 121);
    assert.equal(
      error.msg,
      "c1/default/web-0: the port's binding should be sandbox-1/eth0 on node-a, is sandbox-2/eth0 on node-b; " +
        "the addresses of eth0 should be 10.100.1.10, is 10.100.1.99/16; link eth0 should be up, is down",
    );
  });

  it("expects what ADD answered and the port records", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    prevResult.ips.push({ address: "10.9.9.9/32", interface: 1 });
    await harness.succeed("CHECK", { prevResult });
    assert.deepEqual(harness.node.expected, {
      netns: "/proc/self/ns/net",
      sandboxId: "sandbox-1",
      containerInterface: "eth0",
      bridge: "br-int",
      vlan: 100,
      mac: "0a:58:0a:64:01:0a",
      hostMtu: 1400,
      addresses: [{ address: "10.100.1.10", prefixLength: 16, gateway: "10.100.0.1" }],
      routes: prevResult.routes,
    });
  });

  it("passes when a later plugin added to the result", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    prevResult.interfaces.push({ name: "tun0", sandbox: "/proc/self/ns/net" });
    prevResult.ips.push({ address: "10.9.9.9/32", interface: 1 });
    await harness.succeed("CHECK", { prevResult });
  });

  it("expects the MAC that a later plugin put into the result", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    prevResult.interfaces[1].mac = "0a:58:0a:64:01:63";
    await harness.succeed("CHECK", { prevResult });
    assert.equal(harness.node.expected?.mac, "0a:58:0a:64:01:63");
  });

  for (const [what, edit] of Object.entries(EDITS)) {
    it(`finds no difference after an edit of the configuration: ${what}`, async () => {
      await using harness = await Harness.start();
      const prevResult = await harness.succeed("ADD");
      await harness.succeed("CHECK", { ...edit, prevResult });
    });
  }

  it("finds no difference when the IPAM does not answer, and logs that", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    for (const code of ["unauthenticated", "internal"] as const) {
      harness.ipam.instead.push(problem(code, "not now"));
      await harness.succeed("CHECK", { prevResult });
      assert.equal(harness.log.pop(), "the binding of c1/default/web-0 was not compared: not now");
    }
    await harness.ipamDown();
    await harness.succeed("CHECK", { prevResult });
    assert.match(harness.log.join(), /^the binding of c1\/default\/web-0 was not compared: the IPAM at /);
  });

  it("finds no difference while the binding waits for its confirmation", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    const port = harness.ipam.ports.get("c1/default/web-0") ?? assert.fail();
    const { sandbox: _, ...unconfirmed } = port.binding ?? assert.fail();
    harness.ipam.ports.set(port.name, { ...port, binding: unconfirmed });
    await harness.succeed("CHECK", { prevResult });
    harness.ipam.ports.set(port.name, { ...port, binding: { ...unconfirmed, ownerUid: "another" } });
    const { msg } = await harness.fail("CHECK", { prevResult });
    assert.match(msg, /binding should be sandbox-1\/eth0 on node-a, is pod another on node-a$/);
  });

  /** The pod's port on this node; `silent`: it was plugged without traffic. */
  const disconnect = ({ node }: Harness, silent: boolean) => {
    const port = node.plugged.get("sandbox-1/eth0") ?? assert.fail();
    node.plugged.set("sandbox-1/eth0", { ...port, isFenced: true, ...(silent && { isSilent: true }) });
  };
  /** Binds the port to another host; the pod here has the INACTIVE binding. */
  const makeInactive = ({ ipam }: Harness) => {
    const port = ipam.ports.get("c1/default/web-0") ?? assert.fail();
    const binding = port.binding ?? assert.fail();
    const inactiveBinding = { ...binding, epoch: 2, migration: { id: "m1" } };
    ipam.ports.set(port.name, { ...port, binding: { ...binding, host: "node-b" }, inactiveBinding });
  };

  it("expects a migration's target, whose binding is INACTIVE, without traffic", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    makeInactive(harness);
    for (const silent of [true, false]) {
      disconnect(harness, silent);
      await harness.succeed("CHECK", { prevResult });
      assert.equal(harness.node.expected?.isSilent, true);
    }
  });

  it("names a fenced port, but no silent one, while the IPAM is away", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    disconnect(harness, false);
    await harness.ipamDown();
    const { msg } = await harness.fail("CHECK", { prevResult });
    assert.equal(msg, "c1/default/web-0: the port should be connected, is fenced");
    disconnect(harness, true);
    await harness.succeed("CHECK", { prevResult });
    assert.equal(harness.node.expected?.isSilent, true);
  });

  it("names a silent port whose binding is ACTIVE", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    disconnect(harness, true);
    const { msg } = await harness.fail("CHECK", { prevResult });
    assert.equal(msg, "c1/default/web-0: the port should be connected, is fenced");
    assert.equal(harness.node.expected?.isSilent, undefined);
  });

  it("names a port that the IPAM does not have", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    harness.ipam.ports.clear();
    const error = await harness.fail("CHECK", { prevResult });
    assert.equal(error.msg, "the IPAM has no port c1/default/web-0: delete the pod to have it created again");
  });

  it("names a fenced port, and one whose record was removed", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    const port = harness.node.plugged.get("sandbox-1/eth0") ?? assert.fail();
    harness.node.plugged.set("sandbox-1/eth0", { ...port, isFenced: true, externalIds: {} });
    const { msg } = await harness.fail("CHECK", { prevResult });
    const record = "external_ids:mooring-port should be the port's name, is nothing";
    assert.equal(msg, `sandbox-1/eth0: the port should be connected, is fenced; ${record}`);
  });

  it("names an interface that prevResult lacks", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    const error = await harness.fail("CHECK", { prevResult: { interfaces: [] } });
    assert.match(error.msg, /prevResult.interfaces should be eth0 in \/proc\/self\/ns\/net, is no such interface/);
  });
});
