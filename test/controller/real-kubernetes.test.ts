import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { KubeConfig } from "@kubernetes/client-node";
import { pino } from "pino";
import { deriveClaim } from "../../cni/agent/pod/derive-claim.ts";
import { readNamespace, readPod } from "../../cni/agent/pod/pod.ts";
import type { Claim, Port } from "../../ipam-server/contract/index.ts";
import { runController } from "../../ipam-server/controller/controller.ts";
import { KubeApi } from "../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../ipam-server/kube/kube-error.ts";
import { FakeIpam } from "../fakes/k8s-ipam.ts";
import { stickyPort } from "../unit/controller/ports.ts";
import { eventually } from "./eventually.ts";

/**
 * Only a real API server shows that its lists, watches, UIDs, owner references and Leases are what the fake says, and
 * only real controllers make pods as they really are. Pods need not run: no node is needed.
 */
const KUBECONFIG = process.env.MOORING_TEST_KUBECONFIG;
const NS = `mooring-controller-${process.pid}`;
const IMAGE = "docker.io/lab/pause:1";

const template = (annotations = {}) => ({
  metadata: { labels: { app: "web" }, annotations },
  spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "main", image: IMAGE, imagePullPolicy: "Never" }] },
});
const workload = (kind: string, replicas: number, annotations = {}) => ({
  apiVersion: "apps/v1",
  kind,
  metadata: { name: "web" },
  spec: {
    replicas,
    selector: { matchLabels: { app: "web" } },
    template: template(annotations),
    ...(kind === "StatefulSet" && { serviceName: "web", podManagementPolicy: "Parallel" }),
  },
});

/** The port that the IPAM would make of this claim. */
function portOf(claim: Claim, change: Partial<Port> = {}): Port {
  const { workload: _, ...base } = stickyPort();
  return {
    ...base,
    name: claim.name ?? `${claim.slotOf?.application}/0`,
    id: `id-${claim.name}`,
    retention: claim.retention ?? { policy: "ephemeral" },
    owner: claim.owner,
    ...(claim.cluster !== undefined && { cluster: claim.cluster }),
    ...(claim.namespace !== undefined && { namespace: claim.namespace }),
    ...(claim.workload && { workload: claim.workload }),
    ...change,
  };
}

describe("the controller on a real Kubernetes", {
  skip: KUBECONFIG === undefined && "MOORING_TEST_KUBECONFIG names no cluster",
  timeout: 300_000,
}, () => {
  let api: KubeApi;
  let config: KubeConfig;
  const path = (rest: string) => `/apis/apps/v1/namespaces/${NS}/${rest}`;
  const pods = async () => (await api.list(`/api/v1/namespaces/${NS}/pods`)).items.map(readPod);
  const remove = (where: string, query = {}) =>
    api.call("DELETE", where, { query }).catch(error => {
      if (!(error instanceof KubeError && error.status === 404)) throw error;
    });

  before(async () => {
    config = new KubeConfig();
    config.loadFromFile(KUBECONFIG ?? "");
    api = new KubeApi(config);
    await api.call("POST", "/api/v1/namespaces", { body: { metadata: { name: NS } } });
    // Pods are refused until the namespace has its service account.
    await eventually("the service account", () =>
      api.get(`/api/v1/namespaces/${NS}/serviceaccounts/default`).catch(() => false),
    );
  });
  after(() => remove(`/api/v1/namespaces/${NS}`));
  // An empty list of nodes would prove nothing about node-a.
  before(() => api.call("POST", "/api/v1/nodes", { body: { metadata: { name: NS } } }));
  after(() => remove(`/api/v1/nodes/${NS}`));

  async function setUp(stack: AsyncDisposableStack) {
    const ipam = stack.use(await FakeIpam.start());
    const stop = new AbortController();
    const running = runController(
      {
        kubeConfig: config,
        server: ipam.url,
        cluster: "c1",
        identity: `test-${process.pid}`,
        kubeLease: { namespace: NS, name: "controller", durationSeconds: 5 },
        graceMs: 1_000,
        healthListen: { type: "tcp", host: "127.0.0.1", port: 0 },
        log: pino({ level: "silent" }),
      },
      stop.signal,
    );
    stack.defer(async () => {
      stop.abort();
      await running;
    });
    const namespace = readNamespace(await api.get(`/api/v1/namespaces/${NS}`));
    const claimOf = (pod: ReturnType<typeof readPod>) =>
      deriveClaim(pod, namespace, { cluster: "c1", networkSelector: "" }, { host: "node-a", interface: "eth0" });
    const reasons = async () =>
      (await api.list(`/api/v1/namespaces/${NS}/events`)).items.map(event => (event as { reason: string }).reason);
    return { ipam, claimOf, reasons };
  }
  const bind = (claim: Claim) => ({ host: "node-a", ownerUid: claim.owner.uid, boundAt: claim.owner.createdAt });

  it("follows a StatefulSet that is scaled, deleted and recreated", async () => {
    await using stack = new AsyncDisposableStack();
    await api.call("POST", path("statefulsets"), { body: workload("StatefulSet", 3) });
    stack.defer(async () => void (await remove(path("statefulsets/web"))));
    const all = await eventually("three pods", async () => {
      const found = await pods();
      return found.length === 3 && found;
    });
    const { ipam, claimOf, reasons } = await setUp(stack);
    for (const pod of all) {
      const claim = claimOf(pod);
      assert.equal(claim.name, `c1/${NS}/${pod.name}`);
      ipam.put(portOf(claim, { binding: bind(claim) }));
    }
    const port = (ordinal: number) => ipam.ports.get(`c1/${NS}/web-${ordinal}`);

    await remove(`/api/v1/namespaces/${NS}/pods/web-0`, { gracePeriodSeconds: 0 });
    await eventually("the dead pod's binding to be released", () => port(0)?.binding === undefined, 60_000);
    assert.ok(port(0), "the set still asks for it");
    assert.ok(port(1)?.binding && port(2)?.binding, "the living are left alone");
    await eventually("an event on the pod", async () => (await reasons()).includes("BindingReleased"));

    await api.call("PATCH", path("statefulsets/web"), {
      body: { spec: { replicas: 1 } },
      contentType: "application/merge-patch+json",
    });
    await eventually("the ports that the set no longer needs to be reclaimed", () => !port(1) && !port(2), 60_000);
    assert.ok(port(0));

    await remove(path("statefulsets/web"));
    await api.call("POST", path("statefulsets"), { body: workload("StatefulSet", 0) });
    await eventually("the port of the recreated set to be reclaimed", () => !port(0), 60_000);
    await eventually("an event on the set", async () => (await reasons()).includes("AddressReclaimed"));
  });

  it("finds a pod's Deployment and reclaims its surplus slots", async () => {
    await using stack = new AsyncDisposableStack();
    await api.call("POST", path("deployments"), {
      body: workload("Deployment", 2, { "mooring.dev/retain": "sticky" }),
    });
    stack.defer(async () => void (await remove(path("deployments/web"))));
    const all = await eventually("two pods of the Deployment", async () => {
      const found = (await pods()).filter(pod => pod.controller?.kind === "ReplicaSet");
      return found.length === 2 && found;
    });
    const { ipam, claimOf } = await setUp(stack);
    const [first] = all;
    assert.ok(first);
    const claim = claimOf(first);
    assert.deepEqual(claim.slotOf, { application: `c1/${NS}/web` });
    assert.deepEqual(claim.workload, { kind: "Deployment", namespace: NS, name: "web" });
    // Two replicas and a surge of a quarter, rounded up: slots 0 to 2.
    for (const slot of [0, 2, 3]) ipam.put(portOf({ ...claim, name: `c1/${NS}/web/${slot}` }, { slot }));
    await eventually("slot 3 to be reclaimed", () => !ipam.ports.has(`c1/${NS}/web/3`), 60_000);
    assert.ok(ipam.ports.has(`c1/${NS}/web/0`) && ipam.ports.has(`c1/${NS}/web/2`));
    await remove(path("deployments/web"));
    await eventually("all ports to be reclaimed", () => ipam.ports.size === 0, 60_000);
  });
});
