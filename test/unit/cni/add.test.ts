import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DatapathError, type DatapathStep } from "../../../cni/datapath/datapath-error.ts";
import { ERROR_CODES, type ErrorCode } from "../../../ipam-server/contract/index.ts";
import { problem } from "../../fakes/ipam-server.ts";
import { Harness } from "./harness.ts";

const KEY = "sandbox-1/eth0";

describe("ADD", () => {
  it("plugs what the IPAM granted and reports the underlay before it answers", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD", {
      retain: "24h",

      args: { cni: { labels: [{ key: "app", value: "web" }] } },
    });
    assert.deepEqual(harness.node.plugged.get(KEY)?.attachment, {
      netns: "/proc/self/ns/net",
      sandboxId: "sandbox-1",
      containerInterface: "eth0",
      bridge: "br-int",
      vlan: 100,
      mac: "0a:58:0a:64:01:0a",
      mtu: 1400,
      addresses: [{ address: "10.100.1.10", prefixLength: 16, gateway: "10.100.0.1" }],
      routes: [{ dst: "0.0.0.0/0", gw: "10.100.0.1" }],
      externalIds: {
        "mooring-port": "c1/default/web-0",
        "mooring-port-id": "id-of-c1/default/web-0",
        "mooring-epoch": "1",
        "mooring-network": "moored",
        "mooring-physical-network": "p",
        "mooring-owner": "uid-1",
      },
    });
    assert.deepEqual(harness.ipam.reports, [
      { name: "c1/default/web-0", epoch: 1, plane: "underlay", state: "ACTIVE" },
    ]);
    const [claim] = harness.ipam.claims;
    assert.deepEqual(claim?.retention, { policy: "sticky", ttlSeconds: 86_400 });
    assert.deepEqual(claim?.labels, { app: "web" });
    assert.equal(harness.node.openHandles, 0);
    assert.deepEqual(harness.log, []);
  });

  it("plugs a flat network untagged; the configuration's MTU overrides the network's", async () => {
    await using harness = await Harness.start();
    harness.ipam.vlan = undefined;
    await harness.succeed("ADD", { mtu: 9000 });
    const attachment = harness.node.plugged.get(KEY)?.attachment;
    assert.equal(attachment !== undefined && "vlan" in attachment, false);
    assert.equal(attachment?.mtu, 9000);
  });

  it("leaves an MTU that nothing states to the datapath, and returns its choice", async () => {
    await using harness = await Harness.start();
    harness.ipam.mtu = 0;
    const { interfaces } = await harness.succeed("ADD");
    const chosen = 1450;
    assert.equal(harness.node.plugged.get(KEY)?.attachment?.mtu, 0);
    assert.deepEqual(
      interfaces.map(({ mtu }: { mtu: number }) => mtu),
      [chosen, chosen],
    );
  });

  it("plugs into the bridge of the network's physical network", async () => {
    await using harness = await Harness.start();
    for (const [bridgeMappings, bridge] of [
      ["p:br-ex", "br-int"],
      ["other:br-other,p:br-ex", "br-int-p"],
    ]) {
      await harness.succeed("ADD", { bridgeMappings });
      assert.equal(harness.node.plugged.get(KEY)?.bridge, bridge);
      await harness.succeed("DEL", { bridgeMappings });
    }
  });

  it("names a physical network that the node does not have, and leaves nothing", async () => {
    await using harness = await Harness.start();
    const { code, msg } = await harness.fail("ADD", { bridgeMappings: "other:br-other,more:br-more" });
    assert.equal(code, 7);
    assert.match(msg, /on the physical network p, but the bridge mappings have only other, more$/);
    assert.deepEqual([harness.ipam.ports.size, harness.node.plugged.size], [0, 0]);
  });

  it("names an MTU that is too small for the port's IPv6 address, and leaves nothing", async () => {
    await using harness = await Harness.start();
    harness.ipam.ipv6 = true;
    const { msg } = await harness.fail("ADD", { mtu: 1279 });
    assert.match(msg, /"mtu" is 1279, but port .* has the IPv6 address fd00:100::\S+, which needs 1280 or more/);
    assert.equal(harness.node.plugged.size, 0);
    assert.equal(harness.ipam.releases.length, 1);
    await harness.succeed("ADD", { mtu: 1280 });
    harness.ipam.ipv6 = false;
    const other = { CNI_CONTAINERID: "sandbox-2", CNI_ARGS: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-1" };
    await harness.succeed("ADD", { mtu: 576 }, other);
  });

  it("prefers addresses of runtimeConfig to args.cni, and these to CNI_ARGS", async () => {
    const args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;IP=10.100.9.3;MAC=0A:00:00:00:00:03";
    const cni = { ips: ["10.100.9.2/16"] };
    const runtimeConfig = { ips: ["10.100.9.1/16", "fd00:100::9/64"], mac: "0a:00:00:00:00:01" };
    for (const [conf, ips, mac] of [
      [{ runtimeConfig, args: { cni } }, ["10.100.9.1", "fd00:100::9"], "0a:00:00:00:00:01"],
      [{ args: { cni } }, ["10.100.9.2"], "0a:00:00:00:00:03"],
      [{}, ["10.100.9.3"], "0a:00:00:00:00:03"],
    ] as const) {
      await using harness = await Harness.start();
      await harness.succeed("ADD", conf, { CNI_ARGS: args });
      assert.deepEqual([harness.ipam.claims[0]?.ips, harness.ipam.claims[0]?.mac], [ips, mac]);
    }
  });

  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    it(`fails with the IPAM's message and CNI code when the IPAM answers ${code}`, async () => {
      await using harness = await Harness.start();
      harness.ipam.instead.push(...Array(6).fill(problem(code, "says why", { retryAfterSeconds: 0 })));
      const error = await harness.fail("ADD");
      assert.deepEqual([error.code, error.msg], [ERROR_CODES[code].cni, "says why"]);
      assert.match(error.details ?? "", new RegExp(`IPAM: ${code}`));
      assert.deepEqual(harness.node.plugged.size, 0);
    });
  }

  const CODES: Record<DatapathStep, number> = {
    netns: 4,
    veth: 120,
    ovs: 11,
    bridge: 11,
    ofport: 11,
    configure: 120,
    unplug: 11,
    offload: 120,
    probe: 11,
  };
  for (const [step, code] of Object.entries(CODES) as [DatapathStep, number][]) {
    for (const retain of ["ephemeral", "sticky"]) {
      it(`releases the ${retain} port when it fails at step ${step}`, async () => {
        await using harness = await Harness.start();
        harness.node.failures.plug = new DatapathError(step, `${step} broke`);
        const error = await harness.fail("ADD", { retain });
        assert.deepEqual([error.code, error.msg, error.details], [code, `${step} broke`, `datapath step: ${step}`]);
        assert.equal(harness.ipam.ports.get("c1/default/web-0")?.binding, undefined);
        assert.equal(harness.ipam.ports.has("c1/default/web-0"), retain === "sticky");
        assert.equal(harness.node.plugged.size, 0);
        assert.equal(harness.node.openHandles, 0);
      });
    }
  }

  describe("of an address of which nothing is known", () => {
    const MAC = "02:00:00:00:00:09";
    const start = async (...used: string[]) => {
      const harness = await Harness.start();
      harness.ipam.isUnknown = true;
      for (const address of used) harness.node.foreign.set(address, MAC);
      return harness;
    };
    const addressOf = (harness: Harness) => harness.node.plugged.get(KEY)?.attachment?.addresses[0]?.address;

    it("probes it before it plugs, and not what its last host released", async () => {
      await using harness = await start();
      await harness.succeed("ADD");
      await harness.succeed("DEL");
      harness.ipam.isUnknown = false;
      await harness.succeed("ADD");
      assert.deepEqual(harness.node.calls, ["probe 10.100.1.10", `plug ${KEY}`, `unplug ${KEY}`, `plug ${KEY}`]);
    });

    for (const retain of ["ephemeral", "sticky"]) {
      it(`takes the next one for a new ${retain} port when another machine answers`, async () => {
        await using harness = await start("10.100.1.10", "10.100.1.11");
        const { ips } = await harness.succeed("ADD", { retain });
        assert.deepEqual([ips?.[0]?.address, addressOf(harness)], ["10.100.1.12/16", "10.100.1.12"]);
        assert.deepEqual(
          harness.ipam.releases.map(({ conflict, unplugged }) => [conflict?.address, conflict?.mac, unplugged]),
          [
            ["10.100.1.10", MAC, true],
            ["10.100.1.11", MAC, true],
          ],
        );
        assert.match(harness.log[0] ?? "", /uses 10\.100\.1\.10: MAC 02:00:00:00:00:09 .*claiming another address/);
      });
    }

    it("gives up after three, and names the last MAC", async () => {
      await using harness = await start("10.100.1.10", "10.100.1.11", "10.100.1.12");
      const error = await harness.fail("ADD");
      assert.equal(error.code, 11);
      assert.match(
        error.msg,
        /another machine .* uses 10\.100\.1\.12: MAC 02:00:00:00:00:09 .*mooringctl get conflicts/,
      );
      assert.deepEqual([harness.ipam.ports.size, harness.node.plugged.size, harness.ipam.releases.length], [0, 0, 3]);
    });

    it("fails for a port that keeps its address, and leaves it the address", async () => {
      await using harness = await start();
      await harness.succeed("ADD", { retain: "sticky" });
      await harness.succeed("DEL", { retain: "sticky" });
      harness.node.foreign.set("10.100.1.10", MAC);
      const error = await harness.fail("ADD", { retain: "sticky" });
      assert.match(error.msg, /MAC 02:00:00:00:00:09 .*port c1\/default\/web-0 keeps the address/);
      assert.deepEqual(harness.ipam.ports.get("c1/default/web-0")?.fixedIps[0]?.address, "10.100.1.10");
      assert.equal(harness.node.plugged.size, 0);
    });

    it("fails when it cannot probe, and releases the port", async () => {
      await using harness = await start();
      harness.node.failures.probe = new DatapathError("probe", "no raw sockets");
      assert.deepEqual([(await harness.fail("ADD")).msg, harness.ipam.ports.size], ["no raw sockets", 0]);
    });

    it("fails when the conflict cannot be reported, and journals it", async () => {
      await using harness = await start("10.100.1.10");
      harness.ipam.onRelease = () => harness.ipam.instead.push(...Array(9).fill(problem("unavailable", "away")));
      harness.ipam.onClaim = () => harness.ipam.instead.push(...Array(9).fill(problem("unavailable", "away")));
      const error = await harness.fail("ADD");
      assert.match(error.msg, /MAC 02:00:00:00:00:09 .*the IPAM has not yet recorded it/);
      assert.equal((await harness.journaled()).length, 1);
    });
  });

  it("releases the port when the datapath cannot be opened", async () => {
    await using harness = await Harness.start();
    harness.openFailure = new Error("no addon");
    assert.equal((await harness.fail("ADD")).msg, "no addon");
    assert.equal(harness.ipam.ports.size, 0);
  });

  it("releases a claim whose answer was lost", async () => {
    await using harness = await Harness.start();
    // The claim succeeds, but the caller receives an answer that is no IPAM's.
    harness.ipam.onClaim = () => harness.ipam.instead.push({ status: 200, body: { results: [{ port: {} }] } });
    harness.ipam.instead.push({ status: 500, body: "oops" });
    const error = await harness.fail("ADD");
    assert.equal(error.code, 11);
    assert.match(error.msg, /answered 500 without saying why: check that a Mooring IPAM listens there/);
    assert.deepEqual(harness.ipam.releases, [
      { host: "node-a", sandbox: { id: "sandbox-1", interface: "eth0" }, unplugged: true },
    ]);
  });

  it("names the missing field of an invalid answer and releases the claim", async () => {
    await using harness = await Harness.start();
    const port = {
      name: "x",
      id: "x",
      network: "n",
      mac: "0a:00:00:00:00:01",
      epoch: 1,
      fixedIps: [{ address: "10.0.0.1" }],
    };
    harness.ipam.instead.push({ status: 200, body: { results: [{ port, segment: { type: "flat" } }] } });
    const error = await harness.fail("ADD");
    assert.equal(error.msg, "the IPAM's answer has no valid \"port.fixedIps\": check both ends' versions");
    assert.equal(harness.ipam.releases.length, 1);
  });

  it("journals the rollback's release when the IPAM is down, for the next call", async () => {
    await using harness = await Harness.start();
    harness.node.failures.plug = new DatapathError("veth", "no veth");
    harness.ipam.onClaim = () => harness.ipam.instead.push("hang up", "hang up", "hang up");
    assert.equal((await harness.fail("ADD", { retain: "sticky" })).msg, "no veth");
    assert.notEqual(harness.ipam.ports.get("c1/default/web-0")?.binding, undefined);
    delete harness.node.failures.plug;
    await harness.succeed("STATUS");
    assert.equal(harness.ipam.ports.get("c1/default/web-0")?.binding, undefined);
  });

  it("disconnects the pod before it releases when a repeated ADD fails", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD", { retain: "sticky" });
    harness.node.failures.plug = new DatapathError("configure", "no route");
    await harness.fail("ADD", { retain: "sticky" });
    assert.equal(harness.node.plugged.size, 0);
    assert.equal(harness.ipam.ports.get("c1/default/web-0")?.binding, undefined);
  });

  it("keeps the address and reports the first failure when the unplug fails too", async () => {
    await using harness = await Harness.start();
    harness.node.failures.plug = new DatapathError("configure", "no route");
    harness.node.failures.unplug = new DatapathError("unplug", "the link stays");
    assert.equal((await harness.fail("ADD")).msg, "no route");
    assert.notEqual(harness.ipam.ports.get("c1/default/web-0")?.binding, undefined);
    assert.deepEqual(harness.log, ["rolling back ADD of sandbox-1/eth0: the link stays"]);
  });

  it("succeeds when its report cannot be delivered, and journals it", async () => {
    await using harness = await Harness.start();
    harness.ipam.onClaim = () => harness.ipam.instead.push("hang up", "hang up");
    await harness.succeed("ADD");
    assert.deepEqual(harness.ipam.reports, []);
    await harness.succeed("STATUS");
    assert.equal(harness.ipam.reports.length, 1);
  });

  it("retries within its timeout while the IPAM restarts", async () => {
    await using harness = await Harness.start();
    harness.ipam.instead.push(
      "hang up",
      problem("unavailable", "starting"),
      problem("overloaded", "later", { retryAfterSeconds: 0 }),
    );
    await harness.succeed("ADD");
  });

  it("names the IPAM's address and plugs nothing when the IPAM is down", async () => {
    await using harness = await Harness.start();
    const { port } = harness.ipam;
    await harness.ipamDown();
    const error = await harness.fail("ADD", { ipamServer: `http://127.0.0.1:${port}`, timeoutMs: 300 });
    assert.equal(error.code, 11);
    assert.match(error.msg, new RegExp(`the IPAM at http://127.0.0.1:${port} cannot be reached .*ECONNREFUSED`));
    assert.deepEqual(harness.node.calls, []);
    assert.deepEqual(await harness.journaled(), []);
  });

  it("fails at its deadline when the IPAM does not answer", async () => {
    await using harness = await Harness.start();
    harness.ipam.instead.push("say nothing");
    const error = await harness.fail("ADD", { timeoutMs: 200 });
    assert.match(error.msg, /no answer within 200 ms/);
    assert.equal(harness.ipam.releases.length, 1, "the claim may have been carried out");
  });

  it("rolls back when the runtime ends the call", async () => {
    await using harness = await Harness.start();
    harness.ipam.onClaim = () => harness.ended.abort(new Error("ended by the runtime"));
    await harness.fail("ADD");
    assert.equal(harness.node.plugged.size, 0);
  });

  it("claims one port for each interface of a pod", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    await harness.succeed("ADD", {}, { CNI_IFNAME: "net1" });
    assert.deepEqual([...harness.ipam.ports.keys()], ["c1/default/web-0", "c1/default/web-0/net1"]);
  });

  it("names the port after the container when there is no pod", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD", {}, { CNI_ARGS: undefined });
    assert.deepEqual([...harness.ipam.ports.keys()], ["c1/containers/sandbox-1"]);
    assert.equal(harness.ipam.claims[0]?.owner.uid, "sandbox-1");
  });

  it("sends the token of tokenFile, and names a tokenFile that does not exist", async () => {
    await using harness = await Harness.start();
    const tokenFile = await harness.write("token", "secret\n");
    await harness.succeed("ADD", { tokenFile });
    assert.equal(harness.ipam.requests[0]?.authorization, "Bearer secret");
    assert.match(
      (await harness.fail("ADD", { tokenFile: "/none/token" })).msg,
      /"tokenFile" cannot be read: ENOENT.*\/none\/token/,
    );
  });

  it("reaches an IPAM on a unix socket", async () => {
    await using harness = await Harness.start();
    const path = `${harness.dir}/ipam.sock`;
    await using _ipam = await harness.serveIpam({ path });
    await harness.succeed("ADD", { ipamServer: `unix:${path}` });
  });
});
