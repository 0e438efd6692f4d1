import assert from "node:assert/strict";
import { test } from "node:test";
import { DatapathError } from "../../../cni/datapath/datapath-error.ts";
import { problem } from "../../fakes/ipam-server.ts";
import { Harness } from "./harness.ts";

const RELEASE = { host: "node-a", sandbox: { id: "sandbox-1", interface: "eth0" } };

test("DEL unplugs, then releases, and answers nothing", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  const answer = await bench.call("DEL");
  assert.deepEqual(answer, { stdout: "", exitCode: 0 });
  assert.equal(bench.node.plugged.size, 0);
  assert.equal(bench.ipam.ports.size, 0);
  assert.deepEqual(bench.ipam.releases, [RELEASE]);
  assert.equal(bench.node.openHandles, 0);
});

test("DEL keeps a sticky port for its next sandbox", async () => {
  await using bench = await Harness.start();
  const first = await bench.succeed("ADD", { retain: "sticky" });
  await bench.succeed("DEL", { retain: "sticky" });
  const again = await bench.succeed("ADD", { retain: "sticky", host: "node-b" }, { CNI_CONTAINERID: "sandbox-2" });
  assert.deepEqual(again.ips, first.ips);
  assert.equal(again.interfaces[1].mac, first.interfaces[1].mac);
});

for (const [what, conf, env] of [
  ["that never was", {}, {}],
  ["in a namespace that is gone", {}, { CNI_NETNS: "/run/netns/mooring-none" }],
  ["without a namespace", {}, { CNI_NETNS: "" }],
  ["without CNI_ARGS", {}, { CNI_ARGS: undefined }],
  ["with CNI_ARGS that ADD would refuse", {}, { CNI_ARGS: "COLOUR=red" }],
  ["with a prevResult", { prevResult: { cniVersion: "1.1.0", interfaces: [{ name: "eth0" }] } }, {}],
  ["with a prevResult of null", { prevResult: null }, {}],
] as const) {
  test(`DEL of a sandbox ${what} succeeds, and so does its repetition`, async () => {
    await using bench = await Harness.start();
    await bench.succeed("DEL", conf, env);
    await bench.succeed("DEL", conf, env);
    assert.deepEqual(bench.ipam.releases, [RELEASE, RELEASE]);
  });
}

test("DEL without the IPAM cleans the node, journals the release and succeeds; the next call that reaches the IPAM delivers it", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  const conf = { ipamServer: bench.ipam.url };
  const { ipamUp } = await bench.ipamDown();
  await bench.succeed("DEL", conf);
  assert.equal(bench.node.plugged.size, 0);
  assert.equal((await bench.journaled()).length, 1);
  assert.match(bench.log[0] ?? "", /the release is journaled in .*journal\/moored: the IPAM at .* cannot be reached/);
  await ipamUp();
  await bench.succeed("ADD", conf, { CNI_CONTAINERID: "sandbox-2", CNI_ARGS: undefined });
  assert.deepEqual(bench.ipam.releases, [RELEASE]);
  assert.deepEqual(await bench.journaled(), []);
  const order = bench.ipam.requests.map(({ path }) => path);
  assert.deepEqual(
    order.slice(0, 2),
    ["/v1/releases", "/v1/claims"],
    "an address given back may be the one that is wanted",
  );
});

for (const [what, refusal] of [
  ["does not know the caller", problem("unauthenticated", "token expired")],
  ["is overloaded", problem("overloaded", "later", { retryAfterSeconds: 0 })],
  ["is something else", { status: 404, body: "<html>" }],
  ["refuses the item", { status: 200, body: { results: [{ problem: problem("internal", "oops").body }] } }],
] as const) {
  test(`DEL succeeds and journals when the IPAM ${what}`, async () => {
    await using bench = await Harness.start();
    bench.ipam.instead.push(refusal, refusal);
    await bench.succeed("DEL");
    assert.equal((await bench.journaled()).length, 1);
  });
}

test("DEL whose journal takes no entry fails with try again, so that the release is not lost", async () => {
  await using bench = await Harness.start();
  const file = await bench.write("in-the-way", "");
  const conf = { ipamServer: "http://127.0.0.1:9", journalDir: file };
  const error = await bench.fail("DEL", conf);
  assert.equal(error.code, 11);
  assert.match(
    error.msg,
    /the journal .*in-the-way\/moored takes no entry: .*make the IPAM reachable or room in the journal/,
  );
});

test("DEL with OVS away releases, because the link is gone, and says that a row is left", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  bench.node.failures.unplug = new DatapathError("ovs", "connection refused");
  await bench.succeed("DEL");
  assert.equal(bench.ipam.ports.size, 0);
  assert.match(
    bench.log[0] ?? "",
    /sandbox-1\/eth0: the link is gone, its OVS port is left for GC: connection refused/,
  );
});

test("DEL fails and keeps the address held while the link may still be there", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  bench.node.failures.unplug = new DatapathError("unplug", "operation not permitted");
  assert.equal((await bench.fail("DEL")).code, 11);
  assert.equal(bench.ipam.ports.size, 1);
});

test("a late DEL of an old sandbox changes nothing of the new one's", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD", { retain: "sticky" });
  await bench.succeed("ADD", { retain: "sticky", host: "node-b" }, { CNI_CONTAINERID: "sandbox-2" });
  await bench.succeed("DEL", { retain: "sticky" });
  assert.equal(bench.ipam.ports.get("c1/default/web-0")?.binding?.host, "node-b");
});
