import type { Cluster } from "./cluster.ts";
import { isAbsent, pathOf } from "./cluster.ts";
import { eventually } from "./eventually.ts";

/** A namespace of a test file's own; disposing of it waits until it is gone with all that was in it. */
export async function openNamespace(cluster: Cluster, name: string, annotations = {}): Promise<AsyncDisposable> {
  const remove = async () => {
    await cluster.api.call("DELETE", pathOf("namespaces", undefined, name)).catch(error => {
      if (!isAbsent(error)) throw error;
    });
    const isGone = async () => (await cluster.find("namespaces", undefined, name)) === undefined;
    await eventually(`namespace ${name} to go`, isGone, 240_000);
  };
  await remove();
  await cluster.api.call("POST", pathOf("namespaces", undefined), { body: { metadata: { name, annotations } } });
  // Pods are refused until the namespace has its service account.
  await eventually("the service account", async () => {
    await cluster.api.get(`/api/v1/namespaces/${name}/serviceaccounts/default`);
    return true;
  });
  return { [Symbol.asyncDispose]: remove };
}
