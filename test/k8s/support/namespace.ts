import { type Cluster, isAbsent, type Pod, pathOf, type Resource } from "./cluster.ts";
import { eventually, expect } from "./eventually.ts";

/** A namespace of a test file's own; disposing of it waits until its pods are gone, and leaves the rest to Kubernetes. */
export async function openNamespace(cluster: Cluster, name: string, annotations = {}): Promise<AsyncDisposable> {
  await removeNamespace(cluster, name);
  const isGone = async () => (await cluster.find("namespaces", undefined, name)) === undefined;
  await eventually(`namespace ${name} to go`, isGone, 240_000);
  await cluster.api.call("POST", pathOf("namespaces", undefined), { body: { metadata: { name, annotations } } });
  // Pods are refused until the namespace has its service account.
  await eventually("the service account", async () => {
    await cluster.api.get(`/api/v1/namespaces/${name}/serviceaccounts/default`);
    return true;
  });
  return { [Symbol.asyncDispose]: () => removeNamespace(cluster, name) };
}

async function removeNamespace(cluster: Cluster, name: string): Promise<void> {
  const remove = (path: string) =>
    cluster.api.call("DELETE", path, { query: { propagationPolicy: "Background" } }).catch(error => {
      if (!isAbsent(error)) throw error;
    });
  // Kubernetes itself takes half a minute longer over it.
  for (const resource of ["deployments", "statefulsets", "pods"] satisfies Resource[]) {
    for (const { metadata } of await cluster.list(resource, name)) await remove(pathOf(resource, name, metadata.name));
  }
  await eventually(
    `the pods of ${name} to go`,
    async () => {
      const left = await cluster.list<Pod>("pods", name);
      return expect(left.length === 0, () => `left: ${left.map(({ metadata }) => metadata.name)}`);
    },
    240_000,
  );
  await remove(pathOf("namespaces", undefined, name));
}
