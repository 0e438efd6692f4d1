import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Port } from "../../ipam-server/contract/index.ts";
import { Cluster, type Pod } from "./support/cluster.ts";
import { eventually, expect } from "./support/eventually.ts";
import { Ipam } from "./support/ipam.ts";
import { openNamespace } from "./support/namespace.ts";
import { deployment, statefulSet, webPod } from "./support/workloads.ts";

const NS = "e2e-keep";
const ROLLING = { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } };

/** By default ports are kept for a week, which no test waits for. */
const AT_ONCE = { "mooring.dev/retain-when-deleted": "Delete", "mooring.dev/retain-when-scaled": "Delete" };

describe("addresses of workloads", { timeout: 900_000 }, () => {
  const cluster = new Cluster();
  const stack = new AsyncDisposableStack();
  let ipam: Ipam;

  before(async () => {
    ipam = await Ipam.find(cluster);
    const annotations = { "mooring.dev/network-selector": "env=prod", ...AT_ONCE };
    stack.use(await openNamespace(cluster, NS, annotations));
  });
  after(async () => {
    await stack.disposeAsync();
    await ipam.settled();
  });

  const portsOf = async (app: string) => {
    const prefix = `${ipam.cluster}/${NS}/${app}`;
    return (await ipam.ports()).filter(({ name }) => name.startsWith(`${prefix}-`) || name.startsWith(`${prefix}/`));
  };
  const portsAre = (app: string, names: string[]) =>
    eventually(`the ports of ${app} to be ${names.join(", ") || "none"}`, async () => {
      const found = (await portsOf(app)).map(({ name }) => name.slice(`${ipam.cluster}/${NS}/`.length)).sort();
      return expect(found.join() === names.join(), () => found.join());
    });
  const addresses = (pods: Pod[]) => pods.map(({ status }) => status.podIP ?? "");

  it("releases two ports when a StatefulSet is scaled from three to one", async () => {
    await cluster.apply(statefulSet(NS, "web", 3, webPod({ app: "web" })));
    const three = await cluster.readyPods(NS, "web", 3);
    const [kept] = three;
    await cluster.patch("statefulsets", NS, "web", { spec: { replicas: 1 } });
    await portsAre("web", ["web-0"]);
    await cluster.eventOn(NS, "web", /Reclaimed/);
    await cluster.patch("statefulsets", NS, "web", { spec: { replicas: 3 } });
    const again = await cluster.readyPods(NS, "web", 3);
    assert.equal(again[0]?.metadata.uid, kept?.metadata.uid, "web-0 was left alone");
    assert.equal(new Set(addresses(again)).size, 3);
  });

  it("gives every pod an address when a StatefulSet is created again", async () => {
    await cluster.kubectl(["-n", NS, "delete", "statefulset", "web", "--cascade=foreground"], { timeoutMs: 120_000 });
    await cluster.apply(statefulSet(NS, "web", 3, webPod({ app: "web" })));
    const pods = await cluster.readyPods(NS, "web", 3);
    assert.equal(new Set(addresses(pods)).size, 3);
    for (const pod of pods)
      assert.equal((await ipam.boundTo(pod)).workload?.uid, pod.metadata.ownerReferences?.[0]?.uid);
  });

  it("releases all ports when a StatefulSet is deleted", async () => {
    await cluster.kubectl(["-n", NS, "delete", "statefulset", "web", "--cascade=foreground"], { timeoutMs: 120_000 });
    await portsAre("web", []);
  });

  it("keeps a sticky Deployment's addresses over rolling updates with surge", async () => {
    const template = (version: string) =>
      webPod({ app: "app", version, annotations: { "mooring.dev/retain": "sticky" } });
    const roll = async (version: string) => {
      await cluster.apply(deployment(NS, "app", 3, template(version), ROLLING));
      await cluster.kubectl(["-n", NS, "rollout", "status", "deployment", "app", "--timeout=240s"], {
        timeoutMs: 250_000,
      });
      const pods = await cluster.readyPods(NS, "app", 3);
      const ports = (await portsOf("app")).sort((a, b) => a.name.localeCompare(b.name));
      const held = ports.flatMap(({ fixedIps }) => fixedIps.map(({ address }) => address));
      for (const address of addresses(pods)) assert.ok(held.includes(address), `${address} is of ${held}`);
      return ports;
    };
    // Pods that are ending hold their slots: while they do, the rollout's last pods get slots above replicas and surge,
    // which are released when these pods end.
    const kept = (ports: Port[]) =>
      ports
        .filter(({ slot }) => slot !== undefined && slot < 4)
        .map(({ id, slot, fixedIps }) => [id, slot, fixedIps[0]?.address]);
    await roll("1");
    const first = kept(await roll("2"));
    assert.ok(first.length >= 3);
    for (const version of ["3", "4"]) assert.deepEqual(kept(await roll(version)).slice(0, first.length), first);
    await cluster.kubectl(["-n", NS, "delete", "deployment", "app", "--cascade=foreground"], { timeoutMs: 120_000 });
    await portsAre("app", []);
  });
});
