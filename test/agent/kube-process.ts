import { FakeKubeApi } from "../fakes/k8s-api.ts";

/**
 * The fake Kubernetes API in a process of its own, because a lab's nodes reach only the lab's namespaces. Messages
 * `{id, method, args}` set what it holds; it answers `{id, result}`. A fake can change pods at chosen moments and fail;
 * test/k8s has the tests with a real cluster.
 */
const kube = await FakeKubeApi.start(
  [
    ...["/api/v1/pods", "/api/v1/namespaces", "/api/v1/events", "/api/v1/nodes"],
    "/apis/kubevirt.io/v1/virtualmachineinstances",
  ],
  process.argv[2],
);

const METHODS: Record<string, (...args: never[]) => unknown> = {
  put: (resource: string, object: Parameters<FakeKubeApi["put"]>[1]) => kube.put(resource, object),
  remove: (resource: string, namespace: string, name: string) => kube.remove(resource, namespace, name),
  items: (resource: string) => kube.items(resource),
  requests: () => kube.requests,
  fail: (pattern: string, status: number) => void kube.faults.set(new RegExp(pattern), status),
  mend: () => kube.faults.clear(),
  cutWatches: () => kube.cutWatches(),
};

process.on("message", ({ id, method, args }: { id: number; method: string; args: never[] }) => {
  process.send?.({ id, result: METHODS[method]?.(...args) });
});
process.on("disconnect", () => process.exit());
process.send?.({ id: 0, result: kube.url });
