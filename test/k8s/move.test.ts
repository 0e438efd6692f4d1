import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client } from "./support/client.ts";
import { Cluster, isReady, type Node } from "./support/cluster.ts";
import { NO_CUTTING, NO_HAND_ON_NODES, NO_STARTING } from "./support/environment.ts";
import { eventually, expect } from "./support/eventually.ts";
import { Ipam, SYSTEM } from "./support/ipam.ts";
import { Moves } from "./support/moves.ts";
import { openNamespace } from "./support/namespace.ts";
import { cutOff, onNode, stopKubelet, unplugged } from "./support/nodes.ts";
import { statefulSet, webPod } from "./support/workloads.ts";

const NS = "e2e-move";
const SELECTOR = { "mooring.dev/network-selector": "env=prod" };

describe("a StatefulSet pod keeps its address and MAC", { timeout: 1_500_000 }, () => {
  const cluster = new Cluster();
  const stack = new AsyncDisposableStack();
  let ipam: Ipam;
  let moves: Moves;
  /** The IPAM's node, which is never harmed, and one that is. */
  let home: string;
  let away: string;
  let homeClient: Client;

  before(async () => {
    ipam = await Ipam.find(cluster);
    home = (await cluster.readyPod(SYSTEM, "mooring-ipam-0")).spec.nodeName ?? "";
    away = (await cluster.nodes()).map(({ metadata }) => metadata.name).find(name => name !== home) ?? "";
    stack.use(await openNamespace(cluster, NS, SELECTOR));
    homeClient = await Client.start(cluster, NS, home);
    moves = new Moves(cluster, ipam, NS, [homeClient, await Client.start(cluster, NS, away)]);
    await cluster.apply(statefulSet(NS, "web", 1, webPod({ app: "web" })));
  });
  after(async () => {
    await stack.disposeAsync();
    await ipam.settled();
  });

  const nodeIsReady = (name: string, wanted: boolean) =>
    eventually(`node ${name} to be ${wanted ? "ready" : "not ready"}`, async () => {
      const node = await cluster.find<Node>("nodes", undefined, name);
      return node !== undefined && isReady(node) === wanted;
    });

  it("when it is deleted and comes up on the other node", async () => {
    const there = await moves.bring("web-0", away);
    await using _ = await cluster.onlyOn(home);
    await cluster.kubectl(["-n", NS, "delete", "pod", "web-0", "--wait=false"]);
    const here = await moves.after(there);
    assert.equal(here.pod.spec.nodeName, home);
    await moves.survivesLateDel(there, here);
    await moves.hasOneHolder(here);
    await cluster.eventOn(NS, "web-0", /Kept .* across the move/);
  });

  it("when its node is drained", async () => {
    const there = await moves.bring("web-0", away);
    try {
      await cluster.kubectl(
        ["drain", away, "--pod-selector=app=web", "--ignore-daemonsets", "--delete-emptydir-data"],
        {
          timeoutMs: 180_000,
        },
      );
      const here = await moves.after(there);
      assert.equal(here.pod.spec.nodeName, home);
      await moves.survivesLateDel(there, here);
    } finally {
      await cluster.kubectl(["uncordon", away]);
    }
  });

  it("when it is force-deleted while its node is cut off", {
    skip: NO_CUTTING,
  }, async t => {
    const there = await moves.bring("web-0", away);
    await using cut = await cutOff(away);
    await nodeIsReady(away, false);
    await cluster.deleteNow(NS, "web-0");
    const here = await moves.after(there, [homeClient]);
    assert.equal(here.pod.spec.nodeName, home);

    await using asking = homeClient.keepAsking(here.pod.status.podIP ?? "");
    await cut.mend();
    const mendedAt = performance.now();
    await unplugged(away, there.port.binding.sandbox.id, 20_000);
    const silentAt = performance.now();
    t.diagnostic(`silent ${Math.round(silentAt - mendedAt)} ms after the network was back`);
    await moves.hasOneHolder(here, 10_000);
    await nodeIsReady(away, true);
    await moves.answers(here);
    const strangers = asking.since(silentAt + 3_000).filter(uid => uid !== here.pod.metadata.uid);
    assert.deepEqual(strangers, [], "the successor alone answers, without a gap");
    await moves.survivesLateDel(there, here);
    await moves.hasOneHolder(here, 10_000);
  });

  it("when its node's kubelet and container runtime are dead", { skip: NO_STARTING }, async () => {
    const there = await moves.bring("web-0", away);
    {
      await using _ = await stopKubelet(away);
      await nodeIsReady(away, false);
      await cluster.deleteNow(NS, "web-0");
      const here = await moves.after(there, [homeClient]);
      assert.equal(here.pod.spec.nodeName, home);
      // The containers run on: only the agent keeps the old copy quiet.
      await unplugged(away, there.port.binding.sandbox.id, 20_000);
    }
    await nodeIsReady(away, true);
    const here = await moves.place("web-0");
    await moves.answers(here);
    await moves.survivesLateDel(there, here);
    await moves.hasOneHolder(here);
  });

  it("when the StatefulSet is rolled to another template", async () => {
    const there = await moves.place("web-0");
    await cluster.apply(statefulSet(NS, "web", 1, webPod({ app: "web", version: "2" })));
    const here = await moves.after(there);
    const { body } = await homeClient.get(here.pod.status.podIP ?? "", 8080, "/version");
    assert.equal(body?.trim(), "2");
    await moves.survivesLateDel(there, here);
  });

  it("when its sandbox is killed in place", { skip: NO_HAND_ON_NODES }, async () => {
    const there = await moves.place("web-0");
    const { host, sandbox } = there.port.binding;
    const address = ["--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"];
    await onNode(host, ["ctr", ...address, "task", "kill", "--signal", "9", sandbox.id]);
    const port = await eventually("a new sandbox", async () => {
      const port = await ipam.portOf(there.pod);
      const now = port.binding?.sandbox;
      return expect(now !== undefined && now.id !== sandbox.id, () => JSON.stringify(port.binding)) && port;
    });
    assert.equal(port.binding?.ownerUid, there.pod.metadata.uid, "the pod is still the same");
    const here = await moves.place("web-0");
    assert.deepEqual([here.pod.status.podIP, here.port.mac], [there.pod.status.podIP, there.port.mac]);
    await moves.answers(here);
    await moves.survivesLateDel(there, here);
  });

  it("when it is force-deleted ten times in a row", async () => {
    const there = await moves.place("web-0");
    let last = there.pod.metadata.uid;
    for (let time = 0; time < 10; time++) {
      await cluster.deleteNow(NS, "web-0");
      last = await eventually("a successor", async () => {
        const uid = (await cluster.findPod(NS, "web-0"))?.metadata.uid;
        return uid !== last && uid;
      });
    }
    const here = await moves.after(there);
    await moves.survivesLateDel(there, here);
    await moves.hasOneHolder(here);
  });
});
