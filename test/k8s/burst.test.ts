import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "./support/client.ts";
import { Cluster, type Pod } from "./support/cluster.ts";
import { ENVIRONMENT, NO_HAND_ON_NODES } from "./support/environment.ts";
import { eventually, expect } from "./support/eventually.ts";
import { Ipam, SYSTEM } from "./support/ipam.ts";
import { openNamespace } from "./support/namespace.ts";
import { allPlugged } from "./support/nodes.ts";
import { deployment, idlePod, statefulSet, webPod } from "./support/workloads.ts";

const NS = "e2e-burst";
const COUNT = 100;
const TIMEOUT_MS = 600_000;

describe(`${COUNT} pods created and deleted at once`, { timeout: 3_000_000 }, () => {
  const cluster = new Cluster();
  const stack = new AsyncDisposableStack();
  let ipam: Ipam;
  let client: Client;
  let bystander: Pod;
  let nodes: string[];

  before(async () => {
    ipam = await Ipam.find(cluster);
    nodes = (await cluster.nodes()).map(({ metadata }) => metadata.name);
    stack.use(await openNamespace(cluster, NS, { "mooring.dev/network-selector": "env=prod" }));
    await cluster.apply(
      deployment(NS, "many", 0, idlePod({ app: "many" })),
      statefulSet(NS, "web", 1, webPod({ app: "web" })),
    );
    client = await Client.start(cluster, NS, nodes.at(-1) ?? "");
    bystander = await cluster.readyPod(NS, "web-0");
  });
  after(async () => {
    await stack.disposeAsync();
    await ipam.settled();
  });

  const scale = (replicas: number) => cluster.patch("deployments", NS, "many", { spec: { replicas } });
  const allDown = () =>
    eventually(
      "all to be gone",
      async () => {
        const left = (await cluster.list<Pod>("pods", NS)).filter(({ metadata }) => metadata.labels?.app === "many");
        return expect(left.length === 0, () => `${left.length} are left`);
      },
      TIMEOUT_MS,
    );
  const nothingLeft = () =>
    eventually(
      "nothing of them to be left",
      async () => {
        const ports = (await ipam.ports()).filter(({ name }) => name.startsWith(`${ipam.cluster}/${NS}/many-`));
        return expect(ports.length === 0, () => `ports: ${ports.map(({ name }) => name)}`);
      },
      180_000,
    );

  async function everyoneRuns(t: TestContext): Promise<void> {
    const pods = await cluster.readyPods(NS, "many", COUNT, TIMEOUT_MS);
    assert.equal(new Set(pods.map(({ status }) => status.podIP)).size, COUNT, "no address twice");
    await ipam.settled();
    const bound = new Map((await ipam.ports()).map(port => [port.binding?.ownerUid, port.binding?.boundAt]));
    // The API server's times are whole seconds.
    const waits = pods.map(({ metadata, status }) => {
      const scheduled = status.conditions?.find(({ type }) => type === "PodScheduled")?.lastTransitionTime ?? "";
      return Date.parse(bound.get(metadata.uid) ?? "") - Date.parse(scheduled);
    });
    waits.sort((a, b) => a - b);
    t.diagnostic(`schedule to claim: p50 ${waits[COUNT / 2]} ms, p99 ${waits[COUNT - 2]} ms`);
  }

  async function noPodWasRestarted(): Promise<void> {
    assert.equal((await cluster.findPod(NS, "web-0"))?.metadata.uid, bystander.metadata.uid);
    await client.answeredBy(bystander.metadata.uid, bystander.status.podIP ?? "");
  }

  async function downAgain(): Promise<void> {
    await scale(0);
    await allDown();
    await nothingLeft();
    await ipam.settled();
    await noPodWasRestarted();
    if (NO_HAND_ON_NODES) return;
    const held = (await ipam.ports()).filter(({ binding }) => binding !== undefined);
    for (const node of nodes) {
      const here = held.filter(({ binding }) => binding?.host === node).length;
      assert.equal((await allPlugged(node)).length, here, `what is plugged on ${node} is what is bound there`);
    }
  }

  it("all run and all end", async t => {
    await scale(COUNT);
    await everyoneRuns(t);
    await downAgain();
  });

  it("all run while the agents are restarted and upgraded", async t => {
    await scale(COUNT);
    await eventually("a fifth to run", async () => {
      const pods = await cluster.list<Pod>("pods", NS);
      return pods.filter(({ status }) => status.phase === "Running").length > COUNT / 5;
    });
    await using asking = client.keepAsking(bystander.status.podIP ?? "");
    await cluster.kubectl([
      "-n",
      SYSTEM,
      "delete",
      "pods",
      "-l",
      "app.kubernetes.io/name=mooring-agent",
      "--wait=false",
    ]);
    await everyoneRuns(t);
    await scale(0);
    const next = ENVIRONMENT.nextImage;
    const upgrade = next
      ? ["set", "image", "daemonset/mooring-agent", `agent=${next}`]
      : ["rollout", "restart", "daemonset/mooring-agent"];
    await cluster.kubectl(["-n", SYSTEM, ...upgrade]);
    await cluster.kubectl(["-n", SYSTEM, "rollout", "status", "daemonset", "mooring-agent", "--timeout=600s"], {
      timeoutMs: 610_000,
    });
    assert.deepEqual([...new Set(asking.since(0))], [bystander.metadata.uid], "who runs is answered throughout");
    await downAgain();
  });

  it("all run after the IPAM was down for a minute", async t => {
    const ipamReplicas = (replicas: number) =>
      cluster.patch("statefulsets", SYSTEM, "mooring-ipam", { spec: { replicas } });
    await scale(COUNT / 2);
    await cluster.readyPods(NS, "many", COUNT / 2, TIMEOUT_MS);
    await using asking = client.keepAsking(bystander.status.podIP ?? "");
    await ipamReplicas(0);
    await eventually("the IPAM to be gone", async () => !(await cluster.findPod(SYSTEM, "mooring-ipam-0")));
    const until = performance.now() + 60_000;
    await scale(0);
    // Deletes go through without it.
    await allDown();
    await scale(COUNT);
    await sleep(Math.max(0, until - performance.now()));
    assert.deepEqual([...new Set(asking.since(0))], [bystander.metadata.uid], "who runs is answered throughout");
    await ipamReplicas(1);
    await cluster.readyPod(SYSTEM, "mooring-ipam-0");
    await everyoneRuns(t);
    await downAgain();
  });
});
