import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Port } from "../../../ipam-server/contract/index.ts";
import { parseClusterPod } from "../../../ipam-server/ctl/cluster-pods.ts";
import { type ClusterPod, compareCluster } from "../../../ipam-server/ctl/compare-cluster.ts";
import { FakeKubeApi } from "../../fakes/k8s-api.ts";
import { runCtl } from "./fake-io.ts";
import { FakeServer } from "./fake-server.ts";
import { boundPort, unboundPort } from "./fixtures.ts";

const bound: Port = { ...boundPort, cluster: "c1", namespace: "default" };
const unbound: Port = { ...unboundPort, cluster: "c1" };
const pod: ClusterPod = {
  namespace: "default",
  name: "web-0",
  uid: "8e5c",
  nodeName: "node-a",
  isOnHostNetwork: false,
  isEnding: false,
  hasEnded: false,
  addresses: ["10.100.1.7"],
};

const leaseOf = (host: string): Port => ({
  ...bound,
  name: `lease:${host}/1`,
  owner: { kind: "lease", uid: "8e5d", createdAt: "2026-11-20T08:00:00.000Z" },
  binding: { host, ownerUid: "8e5d", boundAt: "2026-11-20T08:00:00.000Z" },
  expiresAt: "2026-11-20T09:00:00.000Z",
});

const machine: Port = { ...bound, owner: { kind: "vm", uid: "8e5c", createdAt: "2026-11-20T08:00:00.000Z" } };
const migrating: Port = {
  ...machine,
  inactiveBinding: { host: "node-b", ownerUid: "8e5d", boundAt: "", epoch: 4, migration: { id: "m1" } },
};

const CASES: [behaviour: string, ports: Port[], pods: ClusterPod[], found: RegExp[]][] = [
  ["accepts a binding that agrees with its pod", [bound], [pod], []],
  ["accepts an unbound sticky port", [unbound], [], []],
  ["accepts the pod of a machine", [machine], [pod], []],
  ["accepts both pods of a machine that migrates", [migrating], [pod, { ...pod, name: "web-1", uid: "8e5d" }], []],
  [
    "reports an unbound ephemeral port as a leak",
    [{ ...unbound, retention: { policy: "ephemeral" } }],
    [],
    [/ephemeral/],
  ],
  ["reports a binding without its pod", [bound], [], [/port c1\/default\/web-0 is bound on node-a to 8e5c, but no/]],
  ["reports a binding of a pod that has ended", [bound], [{ ...pod, hasEnded: true }], [/has ended/]],
  ["reports a binding on another host than its pod", [bound], [{ ...pod, nodeName: "node-b" }], [/is on node-b/]],
  ["reports a pod without a binding", [unbound], [pod], [/pod default\/web-0 has 10.100.1.7, but no port is bound/]],
  ["accepts a terminating pod without a binding", [unbound], [{ ...pod, isEnding: true }], []],
  ["accepts a pod without a sandbox and binding", [], [{ ...pod, addresses: [] }], []],
  ["accepts a pod on the host's network without a binding", [], [{ ...pod, isOnHostNetwork: true }], []],
  [
    "reports a pod whose address is not its port's",
    [bound],
    [{ ...pod, addresses: ["10.9.9.9"] }],
    [/but its port holds 10.100.1.7/],
  ],
  [
    "reports an address that two pods use",
    [bound, { ...bound, name: "c1/default/x", binding: { host: "node-a", ownerUid: "x", boundAt: "" } }],
    [pod, { ...pod, name: "x", uid: "x" }],
    [/address 10.100.1.7 is used by pod default\/web-0 and pod default\/x/],
  ],
  ["ignores the ports of other clusters", [{ ...bound, cluster: "c2" }], [], []],
  ["accepts a lease of a node without a pod", [leaseOf("node-a")], [], []],
  [
    "reports a lease of a node that does not exist",
    [leaseOf("node-z")],
    [],
    [/lease:node-z\/1 is leased to node-z until/],
  ],
];
describe("compareCluster", () => {
  for (const [behaviour, ports, pods, expected] of CASES) {
    it(behaviour, () => {
      const found = compareCluster(ports, pods, new Set(["node-a"]), "c1").map(({ where, what }) => `${where} ${what}`);
      assert.equal(found.length, expected.length, found.join("\n"));
      for (const [at, pattern] of expected.entries()) assert.match(found[at] ?? "", pattern);
    });
  }

  it("parses a pod with and without podIPs", () => {
    const metadata = { namespace: "default", name: "web-0", uid: "8e5c" };
    const raw = { metadata, spec: { nodeName: "node-a" }, status: { phase: "Running", podIP: "10.100.1.7" } };
    assert.deepEqual(parseClusterPod(raw), pod);
    assert.deepEqual(parseClusterPod({ metadata, spec: {} }).addresses, []);
  });

  it("check compares bindings with a cluster's pods and exits with 1 if they differ", async () => {
    await using api = await FakeKubeApi.start(["/api/v1/pods", "/api/v1/nodes"]);
    await using server = new FakeServer(({ url }) => ({
      body: url.startsWith("/v1/check") ? { findings: [] } : { ports: [bound] },
    }));
    const dir = await mkdtemp(join(tmpdir(), "mooring-check-"));
    const kubeconfig = join(dir, "config");
    await writeFile(kubeconfig, api.kubeConfig().exportConfig());
    try {
      const world = { server: await server.listen() };
      const args = ["check", "--kubeconfig", kubeconfig, "--cluster", "c1"];
      const differs = await runCtl(args, world);
      assert.equal(differs.exitCode, 1, differs.stderr);
      assert.match(differs.stdout, /port c1\/default\/web-0 +is bound/);

      const status = { phase: "Running", podIPs: [{ ip: "10.100.1.7" }] };
      const metadata = { namespace: "default", name: "web-0", uid: "8e5c" };
      api.put("/api/v1/pods", { metadata, spec: { nodeName: "node-a" }, status });
      const agrees = await runCtl(args, world);
      assert.equal(agrees.exitCode, 0, agrees.stdout + agrees.stderr);
      assert.match(agrees.stdout, /every pod its binding/);

      assert.equal((await runCtl(["check", "--cluster", "c1"], world)).exitCode, 2);
      assert.equal((await runCtl([...args, "--kubeconfig", "/nowhere"], world)).exitCode, 2);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
