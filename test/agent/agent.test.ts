import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { connect } from "node:net";
import { after, describe, it } from "node:test";
import type { Port } from "../../ipam-server/contract/index.ts";
import { cni } from "../../scripts/lab/cni.ts";
import { waitFor } from "../../scripts/lab/command.ts";
import { ping } from "../../scripts/lab/ping.ts";
import type { PodSandbox } from "../../scripts/lab/runtime.ts";
import { expectError, expectSuccess } from "../lab/lab.ts";
import { openAgentLab, unplug } from "./agent-lab.ts";

const agentLab = await openAgentLab();
after(() => agentLab[Symbol.asyncDispose]());
const { lab, kube } = agentLab;
const [agentA] = agentLab.agents;

const add = (sandbox: PodSandbox, node = lab.a) => lab.runtime.add(node, sandbox, agentLab.conf(node));
const del = (sandbox: PodSandbox, node = lab.a) => lab.runtime.del(node, sandbox, agentLab.conf(node));
const status = () => cni(lab.a, "STATUS", { conf: { ...lab.runtime.derive(lab.a, ANY, agentLab.conf(lab.a)).conf } });
const ANY = await lab.runtime.create("any");

async function waitForPort(name: string, what: string, is: (port: Port | undefined) => boolean): Promise<Port> {
  let found: Port | undefined;
  await waitFor(`${name} to be ${what}`, async () => {
    [found] = await lab.readPorts(name);
    return is(found);
  });
  return found as Port;
}

const STATEFUL = [{ apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "set-1", controller: true }];

describe("agent", () => {
  it("plugs a pod by its labels, answers CHECK and unplugs it", async () => {
    const sandbox = await agentLab.createPod(lab.a, "plain", { labels: { app: "web" } });
    const plugged = await agentLab.plug(lab.a, sandbox);
    const [port] = await lab.readPorts("plain");
    assert.deepEqual(
      [port?.binding?.host, port?.binding?.sandbox?.id, port?.labels.app, port?.retention.policy],
      [lab.a.name, sandbox.containerId, "web", "ephemeral"],
    );
    const conf = { ...agentLab.conf(lab.a), prevResult: plugged.result };
    expectSuccess(await lab.runtime.check(lab.a, sandbox, conf));
    await waitForPort("plain", "reported", found => found?.underlay === "ACTIVE");
    await unplug(agentLab, plugged);
    assert.deepEqual(await lab.readPorts("plain"), []);
    assert.deepEqual(await lab.a.listPluggedPorts(), []);
  });

  it("pre-claims a port when its pod is scheduled, for ADD to use", async () => {
    const sandbox = await agentLab.createPod(lab.a, "early");
    const before = await waitForPort("early", "pre-claimed", port => port?.binding !== undefined);
    assert.equal(before.binding?.sandbox, undefined);
    const plugged = await agentLab.plug(lab.a, sandbox);
    const [port] = await lab.readPorts("early");
    assert.deepEqual(
      [port?.id, port?.epoch, port?.binding?.sandbox?.id],
      [before.id, before.epoch, sandbox.containerId],
    );
    assert.equal(plugged.mac, before.mac);
    await unplug(agentLab, plugged);
  });

  it("takes the next address when the pre-claim's probe finds another machine", async () => {
    const last = await agentLab.plug(lab.a, await agentLab.createPod(lab.a, "probe-last"));
    const next = (by: number) => (last.ipv4 ?? "").replace(/\d+$/, digits => String(Number(digits) + by));
    const { legacy } = lab.topology;
    await legacy.ip(`address add ${next(1)}/16 dev eth0`);
    const sandbox = await agentLab.createPod(lab.a, "probed");
    const { fixedIps } = await waitForPort("probed", "pre-claimed", port => port?.binding !== undefined);
    assert.equal(fixedIps[0]?.address, next(1));
    const plugged = await agentLab.plug(lab.a, sandbox);
    assert.equal(plugged.ipv4, next(2));
    const { body } = await agentA.read("/metrics");
    assert.match(body, /^mooring_agent_address_conflicts_total 1$/m);
    assert.match(await lab.ipam.mustCtl("get", "conflicts"), new RegExp(`${next(1)} .*${lab.a.name}`));
    await legacy.ip(`address delete ${next(1)}/16 dev eth0`);
    await unplug(agentLab, plugged);
    await unplug(agentLab, last);
  });

  it("releases the port of a pod deleted before its sandbox", async () => {
    await agentLab.createPod(lab.a, "unused");
    await waitForPort("unused", "pre-claimed", port => port?.binding !== undefined);
    await kube.removePod("unused");
    await waitForPort("unused", "gone", port => port === undefined);
  });

  it("pre-claims nothing for running, remote or host-network pods", async () => {
    await kube.putPod({ name: "runs", uid: randomUUID(), nodeName: lab.a.name, phase: "Running" });
    await kube.putPod({ name: "elsewhere", uid: randomUUID(), nodeName: "node-z" });
    // The watch is ordered: once the last pod has a port, the agent has skipped the others.
    await agentLab.createPod(lab.a, "last");
    await waitForPort("last", "pre-claimed", port => port !== undefined);
    assert.deepEqual([await lab.readPorts("runs"), await lab.readPorts("elsewhere")], [[], []]);
    await kube.removePod("last");
    await waitForPort("last", "gone", port => port === undefined);
  });

  it("keeps a StatefulSet pod's address on another node, despite a late DEL", async () => {
    const first = await agentLab.plug(
      lab.a,
      await agentLab.createPod(lab.a, "web-0", { ownerReferences: STATEFUL, phase: "Running" }),
    );
    await unplug(agentLab, first);
    const second = await agentLab.plug(lab.b, await agentLab.createPod(lab.b, "web-0", { ownerReferences: STATEFUL }));
    assert.deepEqual([second.ipv4, second.mac], [first.ipv4, first.mac]);
    expectSuccess(await del(first, lab.a));
    const [port] = await lab.readPorts("web-0");
    assert.equal(port?.binding?.sandbox?.id, second.containerId);
    assert.deepEqual(port?.workload, {
      kind: "StatefulSet",
      namespace: "default",
      name: "web",
      uid: "set-1",
      ordinal: 0,
    });
    assert.ok(await ping(lab.topology.legacy, second.ipv4 ?? ""));
    await unplug(agentLab, second);
  });

  it("names a bad annotation in error and event, and recovers when it is fixed", async () => {
    const uid = randomUUID();
    const sandbox = await agentLab.createPod(lab.a, "bad", { uid, annotations: { "mooring.dev/retain": "forever" } });
    expectError(await add(sandbox), 7, /mooring.dev\/retain of pod default\/bad is "forever"; it takes "ephemeral"/);
    await waitFor("an event on the pod", async () =>
      (await kube.events()).some(
        ({ reason, message, involvedObject }) =>
          reason === "MooringClaimFailed" && involvedObject.name === "bad" && message.includes("mooring.dev/retain"),
      ),
    );
    await kube.putPod({ name: "bad", uid, nodeName: lab.a.name, annotations: { "mooring.dev/retain": "24h" } });
    await waitFor("the annotation to be seen", async () => (await add(sandbox)).code === 0);
    const [port] = await lab.readPorts("bad");
    assert.deepEqual(port?.retention, { policy: "sticky", ttlSeconds: 86_400 });
    expectSuccess(await del(sandbox));
  });

  it("names a namespace's selector that matches no network", async () => {
    await kube.putNamespace("default", { "mooring.dev/network-selector": "env=none" });
    const sandbox = await agentLab.createPod(lab.a, "nowhere", { phase: "Running" });
    await waitFor("the namespace's annotation to be seen", async () => {
      const { json } = await add(sandbox);
      return json?.code === 102 && /mooring.dev\/network-selector of namespace default/.test(json.msg ?? "");
    });
    await kube.putNamespace("default");
    await waitFor("the annotation's end to be seen", async () => (await add(sandbox)).code === 0);
    expectSuccess(await del(sandbox));
  });

  it("reads a pod that the watch lacks; API down: code 11, except for known pods", async () => {
    const known = await agentLab.createPod(lab.a, "known");
    await waitForPort("known", "pre-claimed", port => port !== undefined);
    await kube.ask("fail", "watch=true|resourceVersion=", 500);
    await kube.ask("cutWatches");
    const unseen = await agentLab.createPod(lab.a, "unseen");
    expectSuccess(await add(unseen));
    expectSuccess(await del(unseen));
    await kube.ask("fail", ".", 500);
    expectError(
      await add(await lab.runtime.create("unheard-of")),
      11,
      /pod default\/unheard-of .*is not yet listed from Kubernetes/,
    );
    expectSuccess(await add(known));
    expectSuccess(await del(known));
    await kube.ask("mend");
    expectError(await add(await lab.runtime.create("no-such-pod")), 11, /Kubernetes has no pod default\/no-such-pod/);
  });

  it("uses the container as owner without a pod in CNI_ARGS", async () => {
    const sandbox = await lab.runtime.create("container");
    const call = { ...lab.runtime.derive(lab.a, sandbox, agentLab.conf(lab.a)), args: {} };
    expectSuccess(await cni(lab.a, "ADD", call));
    const ports = await lab.readPorts();
    assert.ok(ports.some(({ name }) => name === `lab/containers/${sandbox.containerId}`));
    expectSuccess(await cni(lab.a, "DEL", call));
  });

  it("IPAM down: plugs pre-claimed ports, fails others with code 11, DEL succeeds", async () => {
    const goes = await agentLab.plug(lab.a, await agentLab.createPod(lab.a, "goes"));
    const comes = await agentLab.createPod(lab.a, "comes");
    const preclaimed = await waitForPort("comes", "pre-claimed", port => port?.binding !== undefined);
    expectSuccess(await status());
    await lab.ipam.stop("SIGKILL");

    expectError(await status(), 50, /IPAM/);
    expectSuccess(await del(goes));
    expectError(await add(await agentLab.createPod(lab.a, "late")), 11, /IPAM/);
    const came = await agentLab.plug(lab.a, comes);
    assert.equal(came.mac, preclaimed.mac);
    assert.ok(await ping(lab.topology.legacy, came.ipv4 ?? ""));
    assert.match((await agentA.read("/metrics")).body, /mooring_agent_journal_entries [1-9]/);
    assert.equal((await agentA.read("/readyz")).status, 200, "the IPAM is not part of readiness");

    await lab.ipam.start();
    await waitForPort("goes", "released", port => port === undefined);
    const bound = await waitForPort("comes", "bound to its sandbox", port => port?.binding?.sandbox !== undefined);
    assert.deepEqual([bound.epoch, bound.binding?.sandbox?.id], [preclaimed.epoch, comes.containerId]);
    await waitFor("an empty journal", async () =>
      /mooring_agent_journal_entries 0/.test((await agentA.read("/metrics")).body),
    );
    await unplug(agentLab, came);
    assert.deepEqual(await lab.readPorts("comes"), []);
  });

  it("unplugs a pod plugged while the IPAM was down when its port moved", async () => {
    const sandbox = await agentLab.createPod(lab.a, "moved-0", {
      ownerReferences: STATEFUL,
      // With IPv6 the new pod would detect the old one's address as a duplicate until the old one is unplugged.
      annotations: { "mooring.dev/families": "ipv4" },
    });
    await waitForPort("moved-0", "pre-claimed", port => port?.binding !== undefined);
    await lab.ipam.stop("SIGKILL");
    const old = await agentLab.plug(lab.a, sandbox);
    // Node A is cut off from the IPAM, node B is not.
    await lab.a.ip("link set eth0 down");
    await lab.ipam.start();
    const young = await lab.runtime.create("moved-0");
    expectSuccess(await lab.runtime.add(lab.b, young));
    await lab.a.ip("link set eth0 up");
    await waitFor("the old copy to be unplugged", async () => (await lab.a.listPluggedPorts()).length === 0);
    const [port] = await lab.readPorts("moved-0");
    assert.equal(port?.binding?.sandbox?.id, young.containerId);
    expectSuccess(await del(old));
    expectSuccess(await lab.runtime.del(lab.b, young));
  });

  it("ADD waits for a replaced agent; a DEL meanwhile is delivered by the next", async () => {
    // One that waits for its sandbox would be claimed for again by the next agent.
    const goes = await agentLab.plug(lab.a, await agentLab.createPod(lab.a, "goes-alone", { phase: "Running" }));
    const waits = await agentLab.createPod(lab.a, "waits");
    await agentA.stop("SIGKILL");
    expectError(await status(), 50, /agent/);
    expectSuccess(await del(goes));
    assert.deepEqual(await lab.a.listPluggedPorts(), []);
    const adding = add(waits);
    await agentA.start();
    expectSuccess(await adding);
    await waitForPort("goes-alone", "released", port => port === undefined);
    expectSuccess(await del(waits));
  });

  it("serves the socket to root only, and answers invalid input with CNI errors", async () => {
    assert.equal(statSync(agentA.socket).mode & 0o777, 0o600);
    const good = { env: { CNI_COMMAND: "VERSION" }, stdin: "" };
    for (const [bytes, code, message] of [
      ["garbage\n", 6, /not JSON/],
      ["\xff\x00\n", 6, /not JSON/],
      ["[]\n", 6, /not a JSON object/],
      [`${JSON.stringify({ version: 1, env: {} })}\n`, 6, /stdin/],
      [`${JSON.stringify({ version: 1, stdin: "", env: { CNI_ARGS: 7 } })}\n`, 6, /CNI_ARGS/],
      [`${JSON.stringify({ version: 1, ...good, env: {} })}\n`, 4, /CNI_COMMAND is not set/],
      [`${JSON.stringify({ version: 99, ...good })}\n`, 11, /version 99 .*version 1/],
      [`${JSON.stringify(good)}\n`, 11, /version undefined/],
      [`${"x".repeat(5_000_000)}\n`, 6, /longer than/],
    ] as const) {
      const { stdout, exitCode } = JSON.parse(await exchange(bytes));
      const error = JSON.parse(stdout);
      assert.deepEqual([exitCode, error.code], [1, code], stdout);
      assert.match(error.msg, message);
      assert.ok(error.cniVersion);
    }
    assert.equal(await exchange("half a li", true).then(line => JSON.parse(line).exitCode), 1);
  });

  it("gives many concurrent pods their own addresses, with metrics by step", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `burst-${index}`);
    const sandboxes = await Promise.all(names.map(name => agentLab.createPod(lab.a, name)));
    const answers = await Promise.all(sandboxes.map(sandbox => add(sandbox)));
    const addresses = answers.map(answer => expectSuccess(answer)?.ips?.[0]?.address);
    assert.equal(new Set(addresses).size, names.length);
    await Promise.all(sandboxes.map(async sandbox => expectSuccess(await del(sandbox))));
    assert.deepEqual(
      (await lab.readPorts()).filter(({ name }) => name.includes("burst")),
      [],
    );
    const { body } = await agentA.read("/metrics");
    for (const step of ["claim", "plug", "total"]) {
      assert.match(body, new RegExp(`mooring_agent_call_seconds_count{command="ADD",step="${step}"} [1-9]`));
    }
  });

  it("answers running calls when stopped, then exits", async () => {
    const sandbox = await agentLab.createPod(lab.a, "last-call");
    const adding = add(sandbox);
    const hasArrived = (line: string) => line.includes(sandbox.containerId) && line.includes('"call started"');
    await waitFor("the call to arrive", () => agentA.log().split("\n").some(hasArrived));
    await agentA.stop("SIGTERM");
    assert.match(agentA.log().split("\n").at(-2) ?? "", /"msg":"stopped"/);
    // Answered by the agent that was stopped: no other one runs yet.
    expectSuccess(await adding);
    await agentA.start();
    expectSuccess(await del(sandbox));
  });

  /** What the socket answers to the bytes. */
  function exchange(bytes: string, end = false): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    let answer = "";
    const socket = connect(agentA.socket, () => {
      socket.write(bytes, "latin1");
      if (end) socket.end();
    });
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      answer += chunk;
    });
    // The agent closes before it has read all of what is too long.
    socket.on("error", error => (answer === "" ? reject(error) : undefined));
    socket.on("close", () => resolve(answer));
    return promise;
  }
});
