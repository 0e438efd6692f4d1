import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { boundPort, stickyPort } from "../unit/controller/ports.ts";
import { CLUSTER_UID, PODS, settled, setUp } from "./controller-harness.ts";
import { eventually } from "./eventually.ts";

const many = (count: number) =>
  Array.from({ length: count }, (_, i) => stickyPort({ name: `c1/shop/lost-${i}`, id: `lost-${i}` }));

describe("the controller and its cluster's name", { timeout: 120_000 }, () => {
  it("registers the UID of kube-system before it ends anything", async () => {
    await using stack = new AsyncDisposableStack();
    const { ipam, run } = await setUp(stack);
    ipam.beforeWrite = () => assert.ok(ipam.clusters.has("c1"));
    run("a");
    await settled(ipam);
    assert.equal(ipam.clusters.get("c1")?.uid, CLUSTER_UID);
  });

  it("ends nothing of another cluster that has its name, and says so", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, reasons } = await setUp(stack);
    ipam.clusters.set("c1", { name: "c1", uid: "another", registeredAt: "2026-11-20T08:00:00.000Z" });
    ipam.put(boundPort());
    ipam.put(stickyPort({ name: "c1/shop/web-1", id: "port-0" }));
    let writes = 0;
    ipam.beforeWrite = () => void writes++;
    run("a");
    await eventually("the event", () => reasons().includes("ClusterNameRefused"));
    const seen = kube.requests.length;
    await eventually("more passes", () => kube.requests.length > seen + 20);
    assert.equal(writes, 0);
  });

  it("ends nothing while it cannot read kube-system", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run } = await setUp(stack);
    ipam.put(stickyPort());
    kube.faults.set(/GET \/api\/v1\/namespaces\/kube-system$/, 403);
    run("a");
    const tries = () => kube.requests.filter(line => line.endsWith("/namespaces/kube-system")).length;
    await eventually("some passes", () => tries() > 8);
    assert.ok(ipam.ports.has("c1/shop/web-2"));
    kube.faults.clear();
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
  });

  it("holds a pass that would end too much until a person confirms it", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run, reasons } = await setUp(stack);
    for (const port of many(30)) ipam.put(port);
    run("a");
    await eventually("the pass to be held", () => ipam.clusters.get("c1")?.heldPass?.deletions === 30);
    await eventually("the event", () => reasons().includes("ReclaimsHeld"));
    const seen = kube.requests.length;
    await eventually("more passes", () => kube.requests.length > seen + 20);
    assert.equal(ipam.ports.size, 30);
    ipam.confirm("c1");
    await eventually("all to be reclaimed", () => ipam.ports.size === 0);
    await eventually("nothing to be held", () => ipam.clusters.get("c1")?.heldPass === undefined);
  });

  it("does not hold what is only kept for a time", async () => {
    await using stack = new AsyncDisposableStack();
    const { ipam, run } = await setUp(stack);
    ipam.retention = "keep";
    for (const port of many(30)) ipam.put(port);
    run("a");
    const isRetired = () => [...ipam.ports.values()].every(port => port.unneeded === "deleted");
    await eventually("all to be retired", isRetired);
    assert.equal(ipam.clusters.get("c1")?.heldPass, undefined);
  });

  it("ends nothing while Kubernetes lists no pod at all", async () => {
    await using stack = new AsyncDisposableStack();
    const { kube, ipam, run } = await setUp(stack);
    kube.remove(PODS, "mooring-system", "controller");
    ipam.put(stickyPort());
    run("a");
    await eventually("some passes", () => kube.requests.filter(line => line.endsWith("kube-system")).length > 8);
    assert.ok(ipam.ports.has("c1/shop/web-2"));
    kube.put(PODS, { metadata: { namespace: "mooring-system", name: "controller" } });
    await eventually("the port to be reclaimed", () => !ipam.ports.has("c1/shop/web-2"));
  });
});

describe("a program without a cluster's name", () => {
  for (const main of ["ipam-server/controller/main.ts", "cni/agent/main.ts"]) {
    it(`${main} names the line to set, and does not start`, () => {
      const program = join(import.meta.dirname, "../..", main);
      const env = { MOORING_NODE_NAME: "node-a", MOORING_CLUSTER: "" };
      const { status, stderr } = spawnSync(process.execPath, [program], { env, encoding: "utf8" });
      assert.match(
        stderr,
        /--cluster: is missing; .*MOORING_CLUSTER.*the line "cluster=NAME" in the kustomization\.yaml/,
      );
      assert.equal(status, 2);
    });
  }
});
