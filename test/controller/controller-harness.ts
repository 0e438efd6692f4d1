import { pino } from "pino";
import { runController } from "../../ipam-server/controller/controller.ts";
import { FakeKubeApi } from "../fakes/k8s-api.ts";
import { FakeIpam } from "../fakes/k8s-ipam.ts";
import { stickyPort } from "../unit/controller/ports.ts";
import { eventually } from "./eventually.ts";

export const PODS = "/api/v1/pods";
export const NAMESPACES = "/api/v1/namespaces";
export const NODES = "/api/v1/nodes";
export const SETS = "/apis/apps/v1/statefulsets";
export const DEPLOYMENTS = "/apis/apps/v1/deployments";
export const REPLICA_SETS = "/apis/apps/v1/replicasets";
export const LEASES = "/apis/coordination.k8s.io/v1/leases";
export const EVENTS = "/api/v1/events";
export const MACHINES = "/apis/kubevirt.io/v1/virtualmachines";
export const CLUSTER_UID = "c1000000-0000-4000-8000-000000000001";
const GRACE_MS = 400;

export const set = (replicas: number, uid = "set-uid") => ({
  metadata: { namespace: "shop", name: "web", uid },
  spec: { replicas },
});
export const pod = (name: string, uid: string) => ({
  metadata: { namespace: "shop", name, uid },
  spec: { nodeName: "node-a" },
});

/** A cluster, an IPAM, and as many replicas as asked, all ended with the test. */
export async function setUp(
  stack: AsyncDisposableStack,
  resources = [PODS, SETS, DEPLOYMENTS, REPLICA_SETS, LEASES, EVENTS],
) {
  const kube = stack.use(await FakeKubeApi.start([...new Set([...resources, NAMESPACES, NODES])]));
  kube.put(NAMESPACES, { metadata: { name: "kube-system", namespace: "", uid: CLUSTER_UID } });
  for (const name of ["node-a", "node-z"]) kube.put(NODES, { metadata: { name, namespace: "" } });
  // The controller itself: a cluster has a pod at least.
  kube.put(PODS, { metadata: { namespace: "mooring-system", name: "controller", uid: "controller" } });
  const ipam = stack.use(await FakeIpam.start());
  const run = (identity: string) => {
    const stop = new AbortController();
    const running = runController(
      {
        kubeConfig: kube.kubeConfig(),
        server: ipam.url,
        cluster: "c1",
        identity,
        kubeLease: { namespace: "mooring-system", name: "controller", durationSeconds: 1 },
        graceMs: GRACE_MS,
        healthListen: { type: "tcp", host: "127.0.0.1", port: 0 },
        log: pino({ level: "silent" }),
      },
      stop.signal,
    );
    const end = async () => {
      stop.abort();
      await running;
    };
    stack.defer(end);
    return { end };
  };
  const leads = (identity: string) => () =>
    kube.items(LEASES).some(each => (each.spec as { holderIdentity: string }).holderIdentity === identity);
  const reasons = () => kube.items(EVENTS).map(event => event.reason);
  return { kube, ipam, run, leads, reasons };
}

/** Waits until the controller has reclaimed a later port: what it reclaims of the earlier ones is gone by then. */
export async function settled(ipam: FakeIpam): Promise<void> {
  const canary = stickyPort({
    name: "c1/shop/canary",
    id: `canary-${ipam.ports.size}`,
    workload: { kind: "Pod", namespace: "mine", name: "canary" },
  });
  ipam.put(canary);
  await eventually("the canary to be reclaimed", () => !ipam.ports.has(canary.name));
}
