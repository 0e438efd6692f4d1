import assert from "node:assert/strict";
import { test } from "node:test";
import { DatapathError, type DatapathStep } from "../../../cni/datapath/datapath-error.ts";
import { ERROR_CODES, type ErrorCode } from "../../../ipam-server/contract/index.ts";
import { problem } from "../../fakes/ipam-server.ts";
import { Harness } from "./harness.ts";

const KEY = "sandbox-1/eth0";

test("ADD plugs what the IPAM answered and reports the underlay before it answers", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD", {
    retain: "24h",

    args: { cni: { labels: [{ key: "app", value: "web" }] } },
  });
  assert.deepEqual(bench.node.plugged.get(KEY)?.attachment, {
    netns: "/proc/self/ns/net",
    sandboxId: "sandbox-1",
    containerInterface: "eth0",
    bridge: "br-int",
    vlan: 100,
    mac: "0a:58:0a:64:01:0a",
    mtu: 1400,
    addresses: [{ address: "10.100.1.10", prefixLength: 16 }],
    routes: [{ dst: "0.0.0.0/0", gw: "10.100.0.1" }],
    skipDad: true,
    externalIds: {
      "mooring-port": "c1/default/web-0",
      "mooring-port-id": "id-of-c1/default/web-0",
      "mooring-epoch": "1",
      "mooring-network": "moored",
      "mooring-owner": "uid-1",
    },
  });
  assert.deepEqual(bench.ipam.reports, [{ name: "c1/default/web-0", epoch: 1, plane: "underlay", state: "ACTIVE" }]);
  const [claim] = bench.ipam.claims;
  assert.deepEqual(claim?.retention, { policy: "sticky", ttlSeconds: 86_400 });
  assert.deepEqual(claim?.labels, { app: "web" });
  assert.equal(bench.node.openHandles, 0);
  assert.deepEqual(bench.log, []);
});

test("a flat network is plugged untagged, and the configuration's MTU goes before the network's", async () => {
  await using bench = await Harness.start();
  bench.ipam.vlan = undefined;
  await bench.succeed("ADD", { mtu: 9000 });
  const attachment = bench.node.plugged.get(KEY)?.attachment;
  assert.equal(attachment !== undefined && "vlan" in attachment, false);
  assert.equal(attachment?.mtu, 9000);
});

test("wanted addresses and MAC: runtimeConfig before args.cni before CNI_ARGS", async () => {
  const args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;IP=10.100.9.3;MAC=0A:00:00:00:00:03";
  const cni = { ips: ["10.100.9.2/16"] };
  const runtimeConfig = { ips: ["10.100.9.1/16", "fd00:100::9/64"], mac: "0a:00:00:00:00:01" };
  for (const [conf, ips, mac] of [
    [{ runtimeConfig, args: { cni } }, ["10.100.9.1", "fd00:100::9"], "0a:00:00:00:00:01"],
    [{ args: { cni } }, ["10.100.9.2"], "0a:00:00:00:00:03"],
    [{}, ["10.100.9.3"], "0a:00:00:00:00:03"],
  ] as const) {
    await using bench = await Harness.start();
    await bench.succeed("ADD", conf, { CNI_ARGS: args });
    assert.deepEqual([bench.ipam.claims[0]?.ips, bench.ipam.claims[0]?.mac], [ips, mac]);
  }
});

for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
  test(`a claim refused with ${code} fails as CNI code ${ERROR_CODES[code].cni} with the IPAM's words, nothing plugged`, async () => {
    await using bench = await Harness.start();
    bench.ipam.instead.push(...Array(6).fill(problem(code, "says why", { retryAfterSeconds: 0 })));
    const error = await bench.fail("ADD");
    assert.deepEqual([error.code, error.msg], [ERROR_CODES[code].cni, "says why"]);
    assert.match(error.details ?? "", new RegExp(`IPAM: ${code}`));
    assert.deepEqual(bench.node.plugged.size, 0);
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
};
for (const [step, code] of Object.entries(CODES) as [DatapathStep, number][]) {
  for (const retain of ["ephemeral", "sticky"]) {
    test(`ADD that fails at ${step} leaves no binding of a port that is ${retain}`, async () => {
      await using bench = await Harness.start();
      bench.node.failures.plug = new DatapathError(step, `${step} broke`);
      const error = await bench.fail("ADD", { retain });
      assert.deepEqual([error.code, error.msg, error.details], [code, `${step} broke`, `datapath step: ${step}`]);
      assert.equal(bench.ipam.ports.get("c1/default/web-0")?.binding, undefined);
      assert.equal(bench.ipam.ports.has("c1/default/web-0"), retain === "sticky");
      assert.equal(bench.node.plugged.size, 0);
      assert.equal(bench.node.openHandles, 0);
    });
  }
}

test("a datapath that cannot even be opened leaves no binding", async () => {
  await using bench = await Harness.start();
  bench.openFailure = new Error("no addon");
  assert.equal((await bench.fail("ADD")).msg, "no addon");
  assert.equal(bench.ipam.ports.size, 0);
});

test("a claim whose answer was lost is taken back", async () => {
  await using bench = await Harness.start();
  // Carried out, but the caller never hears of it: the answer is no IPAM's.
  bench.ipam.onClaim = () => bench.ipam.instead.push({ status: 200, body: { results: [{ port: {} }] } });
  bench.ipam.instead.push({ status: 500, body: "oops" });
  const error = await bench.fail("ADD");
  assert.equal(error.code, 11);
  assert.match(error.msg, /answered 500 without saying why: check that a Mooring IPAM listens there/);
  assert.deepEqual(bench.ipam.releases, [{ host: "node-a", sandbox: { id: "sandbox-1", interface: "eth0" } }]);
});

test("an answer with a missing field is refused by the field's name and taken back", async () => {
  await using bench = await Harness.start();
  const port = {
    name: "x",
    id: "x",
    network: "n",
    mac: "0a:00:00:00:00:01",
    epoch: 1,
    fixedIps: [{ address: "10.0.0.1" }],
  };
  bench.ipam.instead.push({ status: 200, body: { results: [{ port, segment: { type: "flat" } }] } });
  const error = await bench.fail("ADD");
  assert.equal(error.msg, "the IPAM's answer has no valid \"port.fixedIps\": check both ends' versions");
  assert.equal(bench.ipam.releases.length, 1);
});

test("an undo that cannot reach the IPAM is journaled and delivered by the next call", async () => {
  await using bench = await Harness.start();
  bench.node.failures.plug = new DatapathError("veth", "no veth");
  bench.ipam.onClaim = () => bench.ipam.instead.push("hang up", "hang up");
  assert.equal((await bench.fail("ADD", { retain: "sticky" })).msg, "no veth");
  assert.notEqual(bench.ipam.ports.get("c1/default/web-0")?.binding, undefined);
  delete bench.node.failures.plug;
  await bench.succeed("STATUS");
  assert.equal(bench.ipam.ports.get("c1/default/web-0")?.binding, undefined);
});

test("a repeated ADD that fails silences the pod before it gives the address back", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD", { retain: "sticky" });
  bench.node.failures.plug = new DatapathError("configure", "no route");
  await bench.fail("ADD", { retain: "sticky" });
  assert.equal(bench.node.plugged.size, 0);
  assert.equal(bench.ipam.ports.get("c1/default/web-0")?.binding, undefined);
});

test("while the pod may still be heard its address stays held, and the runtime is told the first failure", async () => {
  await using bench = await Harness.start();
  bench.node.failures.plug = new DatapathError("configure", "no route");
  bench.node.failures.unplug = new DatapathError("unplug", "the link stays");
  assert.equal((await bench.fail("ADD")).msg, "no route");
  assert.notEqual(bench.ipam.ports.get("c1/default/web-0")?.binding, undefined);
  assert.deepEqual(bench.log, ["undoing ADD of sandbox-1/eth0: the link stays"]);
});

test("a report that cannot be delivered does not fail ADD and is delivered later", async () => {
  await using bench = await Harness.start();
  bench.ipam.onClaim = () => bench.ipam.instead.push("hang up");
  await bench.succeed("ADD");
  assert.deepEqual(bench.ipam.reports, []);
  await bench.succeed("STATUS");
  assert.equal(bench.ipam.reports.length, 1);
});

test("ADD asks again while the IPAM restarts, within its budget", async () => {
  await using bench = await Harness.start();
  bench.ipam.instead.push(
    "hang up",
    problem("unavailable", "starting"),
    problem("overloaded", "later", { retryAfterSeconds: 0 }),
  );
  await bench.succeed("ADD");
});

test("ADD without an IPAM says where it looked, and does nothing", async () => {
  await using bench = await Harness.start();
  const { port } = bench.ipam;
  await bench.ipamDown();
  const error = await bench.fail("ADD", { ipamServer: `http://127.0.0.1:${port}`, timeoutMs: 300 });
  assert.equal(error.code, 11);
  assert.match(error.msg, new RegExp(`the IPAM at http://127.0.0.1:${port} cannot be reached .*ECONNREFUSED`));
  assert.deepEqual(bench.node.calls, []);
  assert.deepEqual(await bench.journaled(), []);
});

test("an IPAM that takes the call and says nothing is given up at the deadline", async () => {
  await using bench = await Harness.start();
  bench.ipam.instead.push("say nothing");
  const error = await bench.fail("ADD", { timeoutMs: 200 });
  assert.match(error.msg, /no answer within 200 ms/);
  assert.equal(bench.ipam.releases.length, 1, "the claim may have been carried out");
});

test("a call that the runtime ends is undone", async () => {
  await using bench = await Harness.start();
  bench.ipam.onClaim = () => bench.ended.abort(new Error("ended by the runtime"));
  await bench.fail("ADD");
  assert.equal(bench.node.plugged.size, 0);
});

test("two interfaces of a pod are two ports", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  await bench.succeed("ADD", {}, { CNI_IFNAME: "net1" });
  assert.deepEqual([...bench.ipam.ports.keys()], ["c1/default/web-0", "c1/default/web-0/net1"]);
});

test("without a pod the container names the port", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD", {}, { CNI_ARGS: undefined });
  assert.deepEqual([...bench.ipam.ports.keys()], ["c1/containers/sandbox-1"]);
  assert.equal(bench.ipam.claims[0]?.owner.uid, "sandbox-1");
});

test("the token of tokenFile is sent; a tokenFile that is not there is named", async () => {
  await using bench = await Harness.start();
  const tokenFile = await bench.write("token", "secret\n");
  await bench.succeed("ADD", { tokenFile });
  assert.equal(bench.ipam.requests[0]?.authorization, "Bearer secret");
  assert.match(
    (await bench.fail("ADD", { tokenFile: "/none/token" })).msg,
    /"tokenFile" cannot be read: ENOENT.*\/none\/token/,
  );
});

test("the IPAM may listen on a unix socket", async () => {
  await using bench = await Harness.start();
  const path = `${bench.dir}/ipam.sock`;
  await using _ipam = await bench.serveIpam({ path });
  await bench.succeed("ADD", { ipamServer: `unix:${path}` });
});
