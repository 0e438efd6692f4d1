import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DatapathError } from "../../../cni/datapath/datapath-error.ts";
import { problem } from "../../fakes/ipam-server.ts";
import { Harness } from "./harness.ts";

const RELEASE = { host: "node-a", sandbox: { id: "sandbox-1", interface: "eth0" }, unplugged: true };

describe("DEL", () => {
  it("unplugs, then releases, and answers nothing", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    const answer = await harness.call("DEL");
    assert.deepEqual(answer, { stdout: "", exitCode: 0 });
    assert.equal(harness.node.plugged.size, 0);
    assert.equal(harness.ipam.ports.size, 0);
    assert.deepEqual(harness.ipam.releases, [RELEASE]);
    assert.equal(harness.node.openHandles, 0);
  });

  it("keeps a sticky port for its next sandbox", async () => {
    await using harness = await Harness.start();
    const first = await harness.succeed("ADD", { retain: "sticky" });
    await harness.succeed("DEL", { retain: "sticky" });
    const again = await harness.succeed("ADD", { retain: "sticky", host: "node-b" }, { CNI_CONTAINERID: "sandbox-2" });
    assert.deepEqual(again.ips, first.ips);
    assert.equal(again.interfaces[1].mac, first.interfaces[1].mac);
  });

  for (const [what, conf, env] of [
    ["that never was", {}, {}],
    ["in a namespace that is gone", {}, { CNI_NETNS: "/run/netns/mooring-none" }],
    ["without a namespace", {}, { CNI_NETNS: "" }],
    ["without CNI_ARGS", {}, { CNI_ARGS: undefined }],
    ["with CNI_ARGS that ADD would reject", {}, { CNI_ARGS: "COLOUR=red" }],
    ["with a prevResult", { prevResult: { cniVersion: "1.1.0", interfaces: [{ name: "eth0" }] } }, {}],
    ["with a prevResult of null", { prevResult: null }, {}],
  ] as const) {
    it(`succeeds twice for a sandbox ${what}`, async () => {
      await using harness = await Harness.start();
      await harness.succeed("DEL", conf, env);
      await harness.succeed("DEL", conf, env);
      assert.deepEqual(harness.ipam.releases, [RELEASE, RELEASE]);
    });
  }

  it("succeeds without the IPAM and journals the release for a later call", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    const conf = { ipamServer: harness.ipam.url };
    const { ipamUp } = await harness.ipamDown();
    await harness.succeed("DEL", conf);
    assert.equal(harness.node.plugged.size, 0);
    assert.equal((await harness.journaled()).length, 1);
    assert.match(harness.log[0] ?? "", /release journaled in .*journal\/moored: the IPAM at .* cannot be reached/);
    await ipamUp();
    await harness.succeed("ADD", conf, { CNI_CONTAINERID: "sandbox-2", CNI_ARGS: undefined });
    assert.deepEqual(harness.ipam.releases, [RELEASE]);
    assert.deepEqual(await harness.journaled(), []);
    const order = harness.ipam.requests.map(({ path }) => path);
    assert.deepEqual(order.slice(0, 2), ["/v1/releases", "/v1/claims"], "a released address may be the requested one");
  });

  for (const [what, rejection] of [
    ["rejects the caller's token", problem("unauthenticated", "token expired")],
    ["is overloaded", problem("overloaded", "later", { retryAfterSeconds: 0 })],
    ["is something else", { status: 404, body: "<html>" }],
    ["rejects the item", { status: 200, body: { results: [{ problem: problem("internal", "oops").body }] } }],
  ] as const) {
    it(`succeeds and journals when the IPAM ${what}`, async () => {
      await using harness = await Harness.start();
      harness.ipam.instead.push(rejection, rejection);
      await harness.succeed("DEL");
      assert.equal((await harness.journaled()).length, 1);
    });
  }

  it("fails with try again when neither IPAM nor journal accepts the release", async () => {
    await using harness = await Harness.start();
    const file = await harness.write("in-the-way", "");
    const conf = { ipamServer: "http://127.0.0.1:9", journalDir: file };
    const error = await harness.fail("DEL", conf);
    assert.equal(error.code, 11);
    assert.match(
      error.msg,
      /the journal .*in-the-way\/moored accepts no entry: .*restore the IPAM or free space for the journal/,
    );
  });

  it("releases when OVS is down, because the link is deleted, and logs the row", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    harness.node.failures.unplug = new DatapathError("ovs", "connection refused");
    await harness.succeed("DEL");
    assert.equal(harness.ipam.ports.size, 0);
    assert.match(
      harness.log[0] ?? "",
      /sandbox-1\/eth0: link deleted, its OVS port remains until GC: connection refused/,
    );
  });

  it("fails and keeps the address while the link may still exist", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    harness.node.failures.unplug = new DatapathError("unplug", "operation not permitted");
    assert.equal((await harness.fail("DEL")).code, 11);
    assert.equal(harness.ipam.ports.size, 1);
  });

  it("changes nothing of the new sandbox when it is late", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD", { retain: "sticky" });
    await harness.succeed("ADD", { retain: "sticky", host: "node-b" }, { CNI_CONTAINERID: "sandbox-2" });
    await harness.succeed("DEL", { retain: "sticky" });
    assert.equal(harness.ipam.ports.get("c1/default/web-0")?.binding?.host, "node-b");
  });
});
