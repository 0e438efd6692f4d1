import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MooringEvent } from "../../ipam-server/contract/index.ts";
import { boundPort, POD_UID, stickyPort } from "../unit/controller/ports.ts";
import {
  DEPLOYMENTS,
  EVENTS,
  LEASES,
  MACHINES,
  NODES,
  PODS,
  pod,
  REPLICA_SETS,
  SETS,
  set,
  settled,
  setUp,
} from "./controller-harness.ts";
import { eventually } from "./eventually.ts";

describe("the controller", { timeout: 120_000 }, () => {
  it("reclaims a kept port of a deleted StatefulSet, with an event", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, reasons } = await setUp(stack);
    kube.put(SETS, set(3));
    ipam.put(stickyPort());
    run("a");
    await settled(ipam);
    assert.ok(ipam.ports.has("c1/shop/web-2"));
    kube.remove(SETS, "shop", "web");
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
    await eventually("an event", () => reasons().includes("AddressReclaimed"));
  });

  it("retires the port of a deleted StatefulSet, and restores it when the set is back", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, reasons } = await setUp(stack);
    ipam.retention = "keep";
    kube.put(SETS, set(3));
    ipam.put(stickyPort());
    run("a");
    kube.remove(SETS, "shop", "web");
    await eventually("the port to be retired", () => ipam.ports.get("c1/shop/web-2")?.unneeded === "deleted");
    await eventually("an event", () => reasons().includes("AddressRetained"));
    kube.put(SETS, set(3, "another-uid"));
    await eventually("the port to be restored", () => ipam.ports.get("c1/shop/web-2")?.unneeded === undefined);
    assert.equal(ipam.ports.get("c1/shop/web-2")?.expiresAt, undefined);
  });

  it("reclaims the ports a scaled-down set no longer needs", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run } = await setUp(stack);
    kube.put(SETS, set(3));
    ipam.put(stickyPort());
    const first = stickyPort({ name: "c1/shop/web-0", id: "port-0" });
    ipam.put({
      ...first,
      workload: { ...stickyPort().workload, kind: "StatefulSet", namespace: "shop", name: "web", ordinal: 0 },
    });
    run("a");
    await settled(ipam);
    kube.put(SETS, set(1));
    await eventually("web-2 to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
    await settled(ipam);
    assert.ok(ipam.ports.has("c1/shop/web-0"));
  });

  it("releases a binding only if its pod and its node are gone", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, reasons } = await setUp(stack);
    kube.put(SETS, set(3));
    kube.put(PODS, pod("web-2", POD_UID));
    ipam.put(boundPort());
    const lost = boundPort({ name: "c1/shop/job-x", id: "port-9", retention: { policy: "ephemeral" } });
    ipam.put({
      ...lost,
      binding: { host: "node-b", ownerUid: POD_UID.replace("8e5c", "aaaa"), boundAt: lost.createdAt },
    });
    run("a");
    await eventually("the lost binding to be released", () => !ipam.ports.has("c1/shop/job-x"));
    assert.ok(ipam.ports.get("c1/shop/web-2")?.binding);
    await eventually("an event", () => reasons().includes("BindingReleased"));
    kube.remove(NODES, "", "node-a");
    await settled(ipam);
    assert.ok(ipam.ports.get("c1/shop/web-2")?.binding);
    kube.remove(PODS, "shop", "web-2");
    await eventually("web-2 to be released", () => ipam.ports.get("c1/shop/web-2")?.binding === undefined);
    assert.ok(ipam.ports.has("c1/shop/web-2"), "its set still asks for the port");
  });

  it("keeps a force-deleted pod's binding while its node may run", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run } = await setUp(stack);
    const node = {
      metadata: { name: "node-a", namespace: "" },
      status: { conditions: [{ type: "Ready", status: "False" }] },
    };
    kube.put(NODES, node);
    const ephemeral = boundPort({ retention: { policy: "ephemeral" } });
    ipam.put(ephemeral);
    run("a");
    await settled(ipam);
    await settled(ipam);
    assert.ok(ipam.ports.get(ephemeral.name)?.binding, "it may run there, and would share its address with a stranger");
    const taint = { key: "node.kubernetes.io/out-of-service", value: "nodeshutdown", effect: "NoExecute" };
    kube.faults.set(/GET \/api\/v1\/nodes(?!.*watch)/, 500);
    kube.put(NODES, { ...node, spec: { taints: [taint] } });
    await settled(ipam);
    await settled(ipam);
    assert.ok(ipam.ports.has(ephemeral.name), "releases nothing while the nodes cannot be read again");
    kube.faults.clear();
    await eventually("the binding to be released", () => !ipam.ports.has(ephemeral.name));
  });

  it("reclaims expired leases of a deleted node after a fresh read", async () => {
    await using stack = new AsyncDisposableStack();
    const resources = [PODS, NODES, SETS, DEPLOYMENTS, REPLICA_SETS, LEASES, EVENTS];
    const { kube, ipam, run } = await setUp(stack, resources);
    const owner = { kind: "lease", uid: POD_UID, createdAt: "2026-11-20T08:00:00.000Z" } as const;
    for (const host of ["node-a", "node-z"]) {
      kube.put(NODES, { metadata: { name: host, namespace: "" } });
      const { namespace: _none, ...port } = boundPort({ name: `lease:${host}/1`, id: host, owner });
      const binding = { host, ownerUid: POD_UID, boundAt: port.createdAt };
      ipam.put({ ...port, retention: { policy: "ephemeral" }, binding, expiresAt: "2020-01-01T00:00:00.000Z" });
    }
    run("a");
    await settled(ipam);
    kube.faults.set(/GET \/api\/v1\/nodes(?!.*watch)/, 500);
    kube.remove(NODES, "", "node-z");
    await settled(ipam);
    await settled(ipam);
    assert.ok(ipam.ports.has("lease:node-z/1"), "reclaims nothing while the nodes cannot be read again");
    kube.faults.clear();
    await eventually("the lease to be reclaimed", () => !ipam.ports.has("lease:node-z/1"));
    assert.ok(ipam.ports.has("lease:node-a/1"));
  });

  it("reclaims nothing if the fresh read finds the pod", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run } = await setUp(stack);
    kube.put(SETS, set(3));
    kube.remove(NODES, "", "node-a");
    run("a");
    await settled(ipam);
    // From here on the watch of pods can neither continue nor be read again; single namespaces can be read.
    kube.faults.set(/GET \/api\/v1\/pods/, 500);
    kube.cutWatches();
    kube.put(PODS, pod("web-2", POD_UID));
    ipam.put(boundPort());
    await settled(ipam);
    const looks = kube.requests.filter(line => line.startsWith("GET /api/v1/namespaces/shop/pods"));
    assert.ok(looks.length > 0 && looks.every(line => !line.includes("resourceVersion")));
    assert.ok(ipam.ports.get("c1/shop/web-2")?.binding);
  });

  for (const status of [500, 403, 410]) {
    it(`keeps everything while the fresh read fails with ${status}, then resumes`, async () => {
      await using stack = new AsyncDisposableStack();
      const { kube, ipam, run } = await setUp(stack);
      ipam.put(stickyPort());
      const fault = /GET \/apis\/apps\/v1\/namespaces\/shop\/statefulsets/;
      kube.faults.set(fault, status);
      run("a");
      await settled(ipam);
      await settled(ipam);
      assert.ok(kube.requests.some(line => fault.test(line)));
      assert.ok(ipam.ports.has("c1/shop/web-2"));
      kube.faults.clear();
      await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
    });
  }

  it("keeps everything when the second page of a list fails", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run } = await setUp(stack);
    for (let i = 0; i < 501; i++) kube.put(PODS, pod(`filler-${i}`, `filler-${i}`));
    kube.put(PODS, pod("web-2", POD_UID));
    ipam.put(boundPort());
    const second = /continue=500/;
    kube.faults.set(second, 500);
    run("a");
    await eventually("three attempts", () => kube.requests.filter(line => second.test(line)).length >= 3);
    assert.ok(ipam.ports.get("c1/shop/web-2")?.binding);
    kube.faults.clear();
    await settled(ipam);
    assert.ok(ipam.ports.get("c1/shop/web-2")?.binding);
  });

  it("reclaims a VM's port only if KubeVirt is installed", async () => {
    const workload = { kind: "VirtualMachine", namespace: "shop", name: "db1" } as const;
    const all = [PODS, SETS, DEPLOYMENTS, REPLICA_SETS, LEASES, EVENTS];
    {
      await using stack = new AsyncDisposableStack();
      const { ipam, run } = await setUp(stack, all);
      ipam.put(stickyPort({ workload }));
      run("a");
      await settled(ipam);
      assert.ok(ipam.ports.has("c1/shop/web-2"));
    }
    await using stack = new AsyncDisposableStack();
    const { ipam, run } = await setUp(stack, [...all, MACHINES]);
    ipam.put(stickyPort({ workload }));
    run("a");
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
  });

  it("does not reclaim a port that was bound meanwhile", async () => {
    await using stack = new AsyncDisposableStack();
    const { ipam, run } = await setUp(stack);
    ipam.put(stickyPort());
    let raced = 0;
    ipam.beforeWrite = () => {
      const port = ipam.ports.get("c1/shop/web-2");
      if (raced++ === 0 && port)
        ipam.put(boundPort({ epoch: port.epoch + 1, retention: { policy: "sticky" }, cluster: "c1" }));
    };
    run("a");
    await eventually("a try", () => raced > 0);
    assert.ok(ipam.ports.get("c1/shop/web-2")?.binding);
  });

  it("has one leader, and another takes over when it stops", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, leads } = await setUp(stack);
    kube.put(SETS, set(3));
    ipam.put(stickyPort());
    const first = run("a");
    await eventually("a to lead", leads("a"));
    run("b");
    await eventually(
      "b to read the Lease",
      () => kube.requests.filter(line => line.startsWith("GET /apis/coordination")).length > 6,
    );
    assert.ok(leads("a")());
    await first.end();
    await eventually("b to lead", leads("b"));
    kube.remove(SETS, "shop", "web");
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
  });

  it("reclaims nothing while it cannot renew its Lease", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, leads } = await setUp(stack);
    run("a");
    await eventually("a to lead", leads("a"));
    kube.faults.set(/PUT \/apis\/coordination/, 500);
    await eventually("ten tries", () => kube.requests.filter(line => line.startsWith("PUT /apis/coord")).length >= 12);
    let writes = 0;
    ipam.beforeWrite = () => void writes++;
    ipam.put(stickyPort());
    const seen = kube.requests.length;
    await eventually("some more tries", () => kube.requests.length > seen + 20);
    assert.equal(writes, 0);
    kube.faults.clear();
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
  });

  it("writes one event when a pod keeps its address", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, leads } = await setUp(stack);
    kube.put(SETS, set(3));
    kube.put(PODS, pod("web-2", POD_UID));
    run("a");
    await eventually("a to lead", leads("a"));
    await settled(ipam);
    const moved: Partial<MooringEvent> = {
      type: "port.moved",
      fromHost: "node-a",
      host: "node-b",
      ownerUid: POD_UID,
      addresses: ["10.100.0.5"],
    };
    ipam.put(boundPort(), moved);
    ipam.put(boundPort(), moved);
    const event = await eventually("an event", () =>
      kube.items(EVENTS).find(each => each.reason === "AddressKept" && each.count === 2),
    );
    assert.match(String(event.message), /Kept 10\.100\.0\.5 .* from node-a to node-b/);
    assert.equal(kube.items(EVENTS).filter(each => each.reason === "AddressKept").length, 1);
  });

  it("resumes after an IPAM outage and a compacted watch", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run } = await setUp(stack);
    kube.put(SETS, set(3));
    run("a");
    await settled(ipam);
    ipam.isDown = true;
    ipam.cutStreams();
    kube.compact();
    kube.remove(SETS, "shop", "web");
    ipam.put(stickyPort());
    ipam.isDown = false;
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
  });

  it("reloads after the IPAM's database was replaced by an older one", async () => {
    await using stack = new AsyncDisposableStack();
    const { ipam, run } = await setUp(stack);
    run("a");
    await settled(ipam);
    ipam.forgetEvents();
    await eventually("the old stream to end", () => !ipam.hasStream);
    await eventually("a new stream", () => ipam.hasStream);
    ipam.put(stickyPort());
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
  });
});
