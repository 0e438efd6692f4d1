import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DatapathError } from "../../../../cni/datapath/datapath-error.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { problem } from "../../../fakes/ipam-server.ts";
import { Harness, readError } from "../harness.ts";

describe("Calls", () => {
  it("ADD plugs a pre-claimed port while it claims it, once", async () => {
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

  it("ADD answers with the granted port when it differs from the expected one", async () => {
    await using harness = await Harness.start();
    const pod = harness.addPod("web-0");
    await harness.preclaim(pod);
    // Another client released it: the next claim creates a binding with the next epoch.
    const name = "c1/default/web-0";
    const port = harness.ipam.ports.get(name);
    assert.ok(port?.binding);
    harness.ipam.ports.set(name, {
      ...port,
      binding: { ...port.binding, sandbox: { id: "other", interface: "eth0" } },
    });
    assert.equal((await harness.call("ADD", "web-0", "s1")).exitCode, 0);
    assert.equal(harness.node.plugged.get("s1/eth0")?.externalIds["mooring-epoch"], "2");
  });

  it("ADD claims again when an annotation changed since the pre-claim", async () => {
    await using harness = await Harness.start();
    await harness.preclaim(harness.addPod("web-0"));
    harness.addPod("web-0", { "mooring.dev/ip": "10.100.9.9" });
    assert.equal((await harness.call("ADD", "web-0", "s1")).exitCode, 0);
    const [release] = harness.ipam.releases;
    assert.deepEqual([release?.name, release?.ownerUid], ["c1/default/web-0", "uid-of-web-0"]);
    assert.deepEqual(harness.ipam.claims.at(-1)?.ips, ["10.100.9.9"]);
  });

  it("IPAM down: ADD plugs only a port that this node holds for the owner", async () => {
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

  it("IPAM down: ADD does not plug a port that moved away during the call", async () => {
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

  it("CHECK passes after the pod was changed or deleted in Kubernetes", async () => {
    await using harness = await Harness.start();
    harness.addPod("web-0");
    const { stdout } = await harness.call("ADD", "web-0", "s1");
    const conf = { prevResult: JSON.parse(stdout) };
    harness.addPod("web-0", { "mooring.dev/port-name": "another" }, undefined, { labels: { app: "other" } });
    assert.deepEqual(await harness.call("CHECK", "web-0", "s1", { conf }), { stdout: "", exitCode: 0 });
    harness.pods.delete("web-0");
    assert.deepEqual(await harness.call("CHECK", "web-0", "s1", { conf }), { stdout: "", exitCode: 0 });
  });

  it("names what must wait for a confirmation that failed", async () => {
    await using harness = await Harness.start();
    await harness.preclaim(harness.addPod("held"));
    harness.ipam.instead.push(...Array(40).fill(problem("unavailable", "away", { retryAfterSeconds: 0 })));
    assert.equal((await harness.call("ADD", "held", "s1")).exitCode, 0);
    harness.ipam.instead.length = 0;
    harness.ipam.instead.push(
      ...Array(9).fill({ status: 200, body: { results: [{ problem: problem("internal", "a bug").body }] } }),
    );
    const [failed] = await harness.confirmations.confirmAll();
    assert.deepEqual(failed?.keys, ["port c1/default/held", "sandbox s1/eth0"]);
    harness.ipam.instead.length = 0;
    assert.deepEqual([await harness.confirmations.confirmAll(), harness.confirmations.size], [[], 0]);
  });

  it("does not confirm a sandbox that is gone", async () => {
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

  it("IPAM down: a second sandbox waits until the first one's release is delivered", async () => {
    await using harness = await Harness.start();
    await harness.preclaim(harness.addPod("held"));
    harness.ipam.instead.push(...Array(40).fill(problem("unavailable", "away", { retryAfterSeconds: 0 })));
    assert.equal((await harness.call("ADD", "held", "s1")).exitCode, 0);
    assert.equal((await harness.call("DEL", "held", "s1")).exitCode, 0);
    assert.equal(readError(await harness.call("ADD", "held", "s2")).code, 11);
  });

  it("DEL releases by sandbox, and by owner while no other sandbox uses the port", async () => {
    await using harness = await Harness.start();
    harness.addPod("web-0");
    await harness.call("DEL", "web-0", "s0");
    assert.deepEqual(harness.ipam.releases.pop(), {
      host: "node-a",
      sandbox: { id: "s0", interface: "eth0" },
      unplugged: true,
    });

    await harness.call("ADD", "web-0", "s1");
    await harness.call("DEL", "web-0", "s0");
    assert.deepEqual(harness.ipam.releases.pop(), {
      host: "node-a",
      sandbox: { id: "s0", interface: "eth0" },
      unplugged: true,
    });

    await harness.call("DEL", "web-0", "s1");
    assert.deepEqual(harness.ipam.releases.pop(), {
      host: "node-a",
      name: "c1/default/web-0",
      sandbox: { id: "s1", interface: "eth0" },
      ownerUid: "uid-of-web-0",
      unplugged: true,
    });
  });

  it("never runs two calls of one sandbox concurrently", async () => {
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

  it("rolls back an ADD whose runtime disconnects", async () => {
    await using harness = await Harness.start();
    harness.addPod("web-0");
    const gone = new AbortController();
    harness.ipam.onClaim = () => gone.abort(new Error("the caller hung up"));
    assert.equal((await harness.call("ADD", "web-0", "s1", { gone: gone.signal })).exitCode, 1);
    assert.equal(harness.node.plugged.size, 0);
    await waitFor("the binding to be released", () => harness.ipam.ports.size === 0);
  });

  it("answers a call at its deadline, and rolls it back", async () => {
    await using harness = await Harness.start({ deadlineMs: 50 });
    harness.addPod("web-0");
    harness.ipam.instead.push("say nothing");
    const error = readError(await harness.call("ADD", "web-0", "s1"));
    assert.equal(error.code, 11);
    assert.match(error.msg, /ADD took longer than 50 ms/);
    assert.equal(harness.node.plugged.size, 0);
  });

  it("writes a failed ADD as a pod event that names the annotation at fault", async () => {
    await using harness = await Harness.start();
    harness.addPod("web-0");
    harness.namespaceAnnotations["mooring.dev/network-selector"] = "env=none";
    harness.ipam.instead.push({
      status: 200,
      body: {
        results: [
          {
            problem: { ...(problem("no_matching_network", "none").body as object), field: "claims[0].networkSelector" },
          },
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

  it("uses its own bridges, and rejects a call that names another", async () => {
    await using harness = await Harness.start({ bridgeMappings: "other:br-other,p:br-ex" });
    harness.addPod("web-0");
    await harness.call("ADD", "web-0", "s1", { conf: { bridge: "br-int" } });
    assert.equal(harness.node.plugged.get("s1/eth0")?.bridge, "br-int-p");
    harness.addPod("web-1");
    const { code, msg } = readError(await harness.call("ADD", "web-1", "s2", { conf: { bridge: "br-x" } }));
    assert.deepEqual([code, harness.node.plugged.size], [7, 1]);
    assert.match(msg, /"bridge" is br-x, but this node's agent has br-int: remove the key$/);
  });

  it("names the two lines to change when a rolling update waits for its own port name", async () => {
    await using harness = await Harness.start();
    const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-7d9c5b", uid: "rs", controller: true };
    const metadata = { ownerReferences: [owner], labels: { "pod-template-hash": "7d9c5b" } };
    harness.addPod("web-7d9c5b-x2x4z", { "mooring.dev/port-name": "frontdoor" }, "u1", metadata);
    harness.ipam.instead.push({
      status: 200,
      body: { results: [{ problem: problem("port_in_use", "frontdoor is bound").body }] },
    });
    const { msg } = readError(await harness.call("ADD", "web-7d9c5b-x2x4z", "s1"));
    assert.match(msg, /^frontdoor is bound.* Deployment default\/web .*maxSurge: 0 and maxUnavailable: 1$/);
    assert.deepEqual(
      harness.events.map(({ reason, message }) => [reason, message]),
      [["MooringClaimFailed", msg]],
    );
  });

  it("gives no advice on rolling updates for a pod that none replaces", async () => {
    await using harness = await Harness.start();
    harness.addPod("web-0", { "mooring.dev/port-name": "frontdoor" });
    harness.ipam.instead.push({
      status: 200,
      body: { results: [{ problem: problem("port_in_use", "frontdoor is bound").body }] },
    });
    assert.equal(readError(await harness.call("ADD", "web-0", "s1")).msg, "frontdoor is bound");
  });

  it("STATUS is 50 when the IPAM is down, and 51 when OVS is down", async () => {
    await using harness = await Harness.start();
    assert.equal((await harness.call("STATUS", "", "")).exitCode, 0);
    harness.ipam.instead.push(problem("unavailable", "away"));
    assert.equal(readError(await harness.call("STATUS", "", "")).code, 50);
    harness.node.failures.ready = new DatapathError("ovs", "away");
    assert.equal(readError(await harness.call("STATUS", "", "")).code, 51);
  });

  it("batches concurrent claims", async () => {
    await using harness = await Harness.start();
    const names = Array.from({ length: 50 }, (_, index) => `pod-${index}`);
    for (const name of names) harness.addPod(name);
    const answers = await Promise.all(names.map(name => harness.call("ADD", name, `s-${name}`)));
    assert.ok(answers.every(({ exitCode }) => exitCode === 0));
    const requests = harness.ipam.requests.filter(({ path }) => path === "/v1/claims");
    assert.equal(harness.ipam.claims.length, 50);
    assert.ok(requests.length <= 10, `${requests.length} requests`);
  });

  it("plugs the expected port without waiting, and unplugs it at the deadline", async () => {
    await using harness = await Harness.start({ deadlineMs: 50 });
    await harness.preclaim(harness.addPod("web-0"));
    harness.ipam.instead.push("say nothing");
    assert.equal(readError(await harness.call("ADD", "web-0", "s1")).code, 11);
    assert.deepEqual(harness.node.calls.slice(0, 2), ["plug s1/eth0", "unplug s1/eth0"]);
  });
});
