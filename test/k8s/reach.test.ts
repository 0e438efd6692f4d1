import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client } from "./support/client.ts";
import { Cluster, type Pod } from "./support/cluster.ts";
import { eventually, expect } from "./support/eventually.ts";
import { Ipam } from "./support/ipam.ts";
import { openNamespace } from "./support/namespace.ts";
import { deployment, statefulSet, webPod } from "./support/workloads.ts";

const NS = "e2e-reach";

describe("running pods", { timeout: 600_000 }, () => {
  const cluster = new Cluster();
  const stack = new AsyncDisposableStack();
  let ipam: Ipam;
  let clients: Client[];
  let pods: Pod[];

  before(async () => {
    ipam = await Ipam.find(cluster);
    stack.use(await openNamespace(cluster, NS, { "mooring.dev/network-selector": "env=prod" }));
    const nodes = (await cluster.nodes()).slice(0, 2).map(({ metadata }) => metadata.name);
    const other = { "mooring.dev/network-selector": "env=test" };
    await cluster.apply(
      deployment(NS, "app", 2, webPod({ app: "app" })),
      statefulSet(NS, "web", 2, webPod({ app: "web" })),
      deployment(NS, "other", 1, webPod({ app: "other", annotations: other })),
    );
    clients = await Promise.all(nodes.map(node => Client.start(cluster, NS, node)));
    pods = (await Promise.all([cluster.readyPods(NS, "app", 2), cluster.readyPods(NS, "web", 2)])).flat();
  });
  after(async () => {
    await stack.disposeAsync();
    await ipam.settled();
  });

  it("have the addresses that the IPAM holds for them", async () => {
    for (const pod of pods) {
      const port = await ipam.boundTo(pod);
      assert.equal(port.network, "prod-a");
      assert.deepEqual(
        port.fixedIps.map(({ address }) => address),
        [pod.status.podIP],
      );
      assert.equal(port.binding.host, pod.spec.nodeName);
      assert.equal(port.retention.policy, pod.metadata.labels?.app === "web" ? "sticky" : "ephemeral");
    }
  });

  it("answer pods of every node over TCP", async () => {
    for (const client of clients) {
      for (const { metadata, status } of pods) await client.answeredBy(metadata.uid, status.podIP ?? "");
    }
  });

  it("reach a pod of another VLAN through the gateway", async () => {
    const [other] = await cluster.readyPods(NS, "other", 1);
    assert.ok(other);
    assert.equal((await ipam.boundTo(other)).network, "test-a");
    for (const client of clients) await client.answeredBy(other.metadata.uid, other.status.podIP ?? "");
  });

  it("reach the gateway and the Kubernetes API over TCP", async () => {
    const { fixedIps } = await ipam.boundTo(pods[0] as Pod);
    const [node] = await cluster.nodes();
    const kubelet = node?.status.addresses.find(({ type }) => type === "InternalIP")?.address;
    for (const client of clients) {
      // No process listens there; a refusal still proves that the address is reached.
      assert.match((await client.get(fixedIps[0]?.gateway ?? "", 9, "/")).said, /refused/);
      // It is asked in the wrong protocol, and says so.
      assert.match((await client.get(kubelet ?? "", 10250, "/")).said, /400/);
    }
  });

  it("are probed and restarted by the kubelet without a new sandbox", async () => {
    const [before] = pods;
    assert.ok(before);
    const port = await ipam.boundTo(before);
    await cluster.kubectl(["-n", NS, "exec", before.metadata.name, "--", "busybox", "killall", "httpd"]);
    const restarted = await eventually("the kubelet to restart it", async () => {
      const pod = await cluster.findPod(NS, before.metadata.name);
      expect((pod?.status.containerStatuses?.[0]?.restartCount ?? 0) > 0, () => JSON.stringify(pod?.status));
      return pod;
    });
    assert.equal(restarted.metadata.uid, before.metadata.uid);
    await cluster.readyPod(NS, before.metadata.name);
    assert.equal((await ipam.boundTo(before)).epoch, port.epoch);
  });
});
