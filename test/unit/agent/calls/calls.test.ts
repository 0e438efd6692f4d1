import assert from "node:assert/strict";
import { test } from "node:test";
import { DatapathError } from "../../../../cni/datapath/datapath-error.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { problem } from "../../../fakes/ipam-server.ts";
import { Harness, readError } from "../harness.ts";

test("ADD of a port claimed ahead plugs it while the IPAM is told of the sandbox, once", async () => {
  await using harness = await Harness.start();
  const pod = harness.addPod("web-0");
  await harness.preclaim(pod);
  assert.equal((await harness.call("ADD", "web-0", "s1")).exitCode, 0);
  assert.deepEqual(
    harness.node.calls.filter(call => call.startsWith("plug")),
    ["plug s1/eth0"],
  );
  assert.deepEqual(
    harness.ipam.claims.map(({ sandbox }) => sandbox?.id),
    [undefined, "s1"],
  );
  assert.equal(harness.held.find(pod.uid, "eth0")?.sandboxId, "s1");
});

test("ADD whose expectation the IPAM does not share answers from what the IPAM says", async () => {
  await using harness = await Harness.start();
  const pod = harness.addPod("web-0");
  await harness.preclaim(pod);
  // Released by somebody meanwhile: the next claim binds anew, under the next epoch.
  const name = "c1/default/web-0";
  const port = harness.ipam.ports.get(name);
  assert.ok(port?.binding);
  harness.ipam.ports.set(name, { ...port, binding: { ...port.binding, sandbox: { id: "other", interface: "eth0" } } });
  assert.equal((await harness.call("ADD", "web-0", "s1")).exitCode, 0);
  assert.equal(harness.node.plugged.get("s1/eth0")?.externalIds["mooring-epoch"], "2");
});

test("an annotation that changed since the port was claimed ahead decides, not what was claimed", async () => {
  await using harness = await Harness.start();
  await harness.preclaim(harness.addPod("web-0"));
  harness.addPod("web-0", { "mooring.dev/ip": "10.100.9.9" });
  assert.equal((await harness.call("ADD", "web-0", "s1")).exitCode, 0);
  const [release] = harness.ipam.releases;
  assert.deepEqual([release?.name, release?.ownerUid], ["c1/default/web-0", "uid-of-web-0"]);
  assert.deepEqual(harness.ipam.claims.at(-1)?.ips, ["10.100.9.9"]);
});

test("with the IPAM away the port this node holds for this owner is plugged, and no other", async () => {
  await using harness = await Harness.start();
  await harness.preclaim(harness.addPod("held"));
  harness.addPod("other");
  harness.ipam.instead.push(...Array(40).fill(problem("unavailable", "away", { retryAfterSeconds: 0 })));
  assert.equal((await harness.call("ADD", "held", "s1")).exitCode, 0);
  assert.equal(readError(await harness.call("ADD", "other", "s2")).code, 11);
  assert.deepEqual([...harness.node.plugged.keys()], ["s1/eth0"]);

  harness.ipam.instead.length = 0;
  await harness.confirmations.confirmAll();
  assert.equal(harness.ipam.ports.get("c1/default/held")?.binding?.sandbox?.id, "s1");
  assert.equal(harness.confirmations.size, 0);
});

test("with the IPAM away a port is not plugged that it gave away while the call ran", async () => {
  await using harness = await Harness.start();
  const pod = harness.addPod("held");
  await harness.preclaim(pod);
  harness.ipam.instead.push("say nothing");
  const call = harness.call("ADD", "held", "s1");
  await waitFor("the port to be plugged as expected", async () => harness.node.plugged.size > 0);
  harness.held.dropPort("c1/default/held");
  assert.equal(readError(await call).code, 11);
  assert.deepEqual([...harness.node.plugged.keys()], []);
});

test("a sandbox that is gone again is not confirmed: nobody would release it", async () => {
  await using harness = await Harness.start();
  await harness.preclaim(harness.addPod("held"));
  harness.ipam.instead.push(...Array(40).fill(problem("unavailable", "away", { retryAfterSeconds: 0 })));
  assert.equal((await harness.call("ADD", "held", "s1")).exitCode, 0);
  assert.equal((await harness.call("DEL", "held", "s1")).exitCode, 0);
  harness.ipam.instead.length = 0;
  const before = harness.ipam.claims.length;
  await harness.confirmations.confirmAll();
  assert.equal(harness.ipam.claims.length, before);
  assert.ok((await harness.journaled()).length > 0);
});

test("with the IPAM away a second sandbox of the same owner waits until the first one's end is told", async () => {
  await using harness = await Harness.start();
  await harness.preclaim(harness.addPod("held"));
  harness.ipam.instead.push(...Array(40).fill(problem("unavailable", "away", { retryAfterSeconds: 0 })));
  assert.equal((await harness.call("ADD", "held", "s1")).exitCode, 0);
  assert.equal((await harness.call("DEL", "held", "s1")).exitCode, 0);
  assert.equal(readError(await harness.call("ADD", "held", "s2")).code, 11);
});

test("DEL releases by sandbox; by owner too while no other sandbox uses the owner's port", async () => {
  await using harness = await Harness.start();
  harness.addPod("web-0");
  await harness.call("DEL", "web-0", "s0");
  assert.deepEqual(harness.ipam.releases.pop(), { host: "node-a", sandbox: { id: "s0", interface: "eth0" } });

  await harness.call("ADD", "web-0", "s1");
  await harness.call("DEL", "web-0", "s0");
  assert.deepEqual(harness.ipam.releases.pop(), { host: "node-a", sandbox: { id: "s0", interface: "eth0" } });

  await harness.call("DEL", "web-0", "s1");
  assert.deepEqual(harness.ipam.releases.pop(), {
    host: "node-a",
    name: "c1/default/web-0",
    sandbox: { id: "s1", interface: "eth0" },
    ownerUid: "uid-of-web-0",
  });
});

test("an ADD and a DEL of one sandbox never run beside each other", async () => {
  await using harness = await Harness.start();
  harness.addPod("web-0");
  const answers = await Promise.all([harness.call("ADD", "web-0", "s1"), harness.call("DEL", "web-0", "s1")]);
  assert.deepEqual(
    answers.map(({ exitCode }) => exitCode),
    [0, 0],
  );
  assert.equal(harness.node.plugged.size, 0);
  assert.equal(harness.ipam.ports.size, 0);
});

test("an ADD whose runtime hangs up is undone", async () => {
  await using harness = await Harness.start();
  harness.addPod("web-0");
  const gone = new AbortController();
  harness.ipam.onClaim = () => gone.abort(new Error("the caller hung up"));
  assert.equal((await harness.call("ADD", "web-0", "s1", { gone: gone.signal })).exitCode, 1);
  assert.equal(harness.node.plugged.size, 0);
  await waitFor("the binding to be released", () => harness.ipam.ports.size === 0);
});

test("a call that takes too long is answered in time, and undone", async () => {
  await using harness = await Harness.start({ deadlineMs: 50 });
  harness.addPod("web-0");
  harness.ipam.instead.push("say nothing");
  const error = readError(await harness.call("ADD", "web-0", "s1"));
  assert.equal(error.code, 11);
  assert.match(error.msg, /ADD took longer than 50 ms/);
  assert.equal(harness.node.plugged.size, 0);
});

test("a failed ADD is an event on its pod; the cause is an annotation where one said it", async () => {
  await using harness = await Harness.start();
  harness.addPod("web-0");
  harness.namespaceAnnotations["mooring.dev/network-selector"] = "env=none";
  harness.ipam.instead.push({
    status: 200,
    body: {
      results: [
        { problem: { ...(problem("no_matching_network", "none").body as object), field: "claims[0].networkSelector" } },
      ],
    },
  });
  const { msg } = readError(await harness.call("ADD", "web-0", "s1"));
  assert.equal(msg, "annotation mooring.dev/network-selector of namespace default: none");
  assert.deepEqual(harness.events, [
    {
      subject: { apiVersion: "v1", kind: "Pod", namespace: "default", name: "web-0", uid: "uid-of-web-0" },
      type: "Warning",
      reason: "MooringClaimFailed",
      message: msg,
    },
  ]);
});

test("STATUS is 50 with the IPAM away and 51 with OVS away", async () => {
  await using harness = await Harness.start();
  assert.equal((await harness.call("STATUS", "", "")).exitCode, 0);
  harness.ipam.instead.push(problem("unavailable", "away"));
  assert.equal(readError(await harness.call("STATUS", "", "")).code, 50);
  harness.node.failures.ready = new DatapathError("ovs", "away");
  assert.equal(readError(await harness.call("STATUS", "", "")).code, 51);
});

test("claims that arrive together share requests", async () => {
  await using harness = await Harness.start();
  const names = Array.from({ length: 50 }, (_, index) => `pod-${index}`);
  for (const name of names) harness.addPod(name);
  const answers = await Promise.all(names.map(name => harness.call("ADD", name, `s-${name}`)));
  assert.ok(answers.every(({ exitCode }) => exitCode === 0));
  const requests = harness.ipam.requests.filter(({ path }) => path === "/v1/claims");
  assert.equal(harness.ipam.claims.length, 50);
  assert.ok(requests.length <= 10, `${requests.length} requests`);
});

test("what is expected is plugged without waiting for the IPAM, and unplugged when it never answers in time", async () => {
  await using harness = await Harness.start({ deadlineMs: 50 });
  await harness.preclaim(harness.addPod("web-0"));
  harness.ipam.instead.push("say nothing");
  assert.equal(readError(await harness.call("ADD", "web-0", "s1")).code, 11);
  assert.deepEqual(harness.node.calls.slice(0, 2), ["plug s1/eth0", "unplug s1/eth0"]);
});
