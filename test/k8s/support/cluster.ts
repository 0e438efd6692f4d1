import { KubeConfig } from "@kubernetes/client-node";
import { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { type CommandOptions, must } from "../../../scripts/lab/command.ts";
import { ENVIRONMENT } from "./environment.ts";
import { eventually, expect } from "./eventually.ts";

export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
    creationTimestamp?: string;
    ownerReferences?: { kind: string; name: string; uid: string }[];
  };
  spec?: unknown;
  status?: unknown;
}

export interface Pod extends KubeObject {
  metadata: KubeObject["metadata"] & { namespace: string; uid: string };
  spec: { nodeName?: string; hostNetwork?: boolean; containers: { image: string }[] };
  status: {
    phase?: string;
    podIP?: string;
    hostIP?: string;
    conditions?: { type: string; status: string; lastTransitionTime?: string }[];
    containerStatuses?: { restartCount: number; containerID?: string }[];
  };
}

export interface Node extends KubeObject {
  spec: { unschedulable?: boolean };
  status: { conditions: { type: string; status: string }[]; addresses: { type: string; address: string }[] };
}

export type Resource = "pods" | "nodes" | "namespaces" | "events" | "statefulsets" | "deployments" | "daemonsets";

const GROUPS: Partial<Record<Resource, string>> = {
  statefulsets: "/apis/apps/v1",
  deployments: "/apis/apps/v1",
  daemonsets: "/apis/apps/v1",
};

export function pathOf(resource: Resource, namespace: string | undefined, name?: string): string {
  const scope = namespace === undefined ? "" : `/namespaces/${namespace}`;
  return `${GROUPS[resource] ?? "/api/v1"}${scope}/${resource}${name === undefined ? "" : `/${name}`}`;
}

export const isReady = ({ status }: { status?: Pod["status"] | Node["status"] }) =>
  status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;

export const isAbsent = (error: unknown) => error instanceof KubeError && error.status === 404;

/** The cluster under test: looks go over the API, deeds a person would do go through kubectl. */
export class Cluster {
  readonly api: KubeApi;

  constructor() {
    const config = new KubeConfig();
    config.loadFromFile(ENVIRONMENT.kubeconfig);
    this.api = new KubeApi(config);
  }

  kubectl(args: readonly string[], options?: CommandOptions): Promise<string> {
    return must(["kubectl", `--kubeconfig=${ENVIRONMENT.kubeconfig}`, ...args], options);
  }

  apply(...objects: object[]): Promise<string> {
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
    return this.kubectl(["apply", "-f", "-"], { input });
  }

  /** Undefined when it is not there. */
  async find<T extends KubeObject>(resource: Resource, namespace: string | undefined, name: string) {
    try {
      return (await this.api.get(pathOf(resource, namespace, name))) as T;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(resource: Resource, namespace?: string): Promise<T[]> {
    return (await this.api.list(pathOf(resource, namespace))).items as T[];
  }

  patch(resource: Resource, namespace: string | undefined, name: string, body: object): Promise<unknown> {
    const contentType = "application/merge-patch+json";
    return this.api.call("PATCH", pathOf(resource, namespace, name), { body, contentType });
  }

  /** Every node, by name. */
  async nodes(): Promise<Node[]> {
    const nodes = await this.list<Node>("nodes");
    return nodes.sort((a, b) => a.metadata.name.localeCompare(b.metadata.name));
  }

  /** Only this node takes new pods until the result is disposed of. */
  async onlyOn(name: string): Promise<AsyncDisposable> {
    const others = (await this.nodes()).filter(node => node.metadata.name !== name);
    const set = (unschedulable: boolean | null) =>
      Promise.all(others.map(node => this.patch("nodes", undefined, node.metadata.name, { spec: { unschedulable } })));
    await set(true);
    return { [Symbol.asyncDispose]: async () => void (await set(null)) };
  }

  findPod(namespace: string, name: string): Promise<Pod | undefined> {
    return this.find<Pod>("pods", namespace, name);
  }

  /** Waits until the pod is ready; `not` is the UID of its predecessor of the same name. */
  readyPod(namespace: string, name: string, { not = "", deadlineMs = 180_000 } = {}): Promise<Pod> {
    return eventually(
      `pod ${namespace}/${name} to be ready`,
      async () => {
        const pod = await this.findPod(namespace, name);
        if (pod === undefined || pod.metadata.uid === not) return false;
        if (isReady(pod) && pod.metadata.deletionTimestamp === undefined && pod.status.podIP) return pod;
        return expect(false, () => `${pod.status.phase}: ${JSON.stringify(pod.status.conditions)}`) && undefined;
      },
      deadlineMs,
    ) as Promise<Pod>;
  }

  /** Waits until this many pods with the label `app` are ready and no other is left. */
  readyPods(namespace: string, app: string, count: number, deadlineMs = 180_000): Promise<Pod[]> {
    return eventually(
      `${count} pods of ${namespace}/${app} to be ready`,
      async () => {
        const pods = (await this.list<Pod>("pods", namespace)).filter(pod => pod.metadata.labels?.app === app);
        const ready = pods.filter(pod => isReady(pod) && pod.metadata.deletionTimestamp === undefined);
        expect(ready.length === count && pods.length === count, () => `${ready.length} of ${pods.length} are ready`);
        return pods.sort((a, b) => a.metadata.name.localeCompare(b.metadata.name));
      },
      deadlineMs,
    );
  }

  async deleteNow(namespace: string, name: string): Promise<void> {
    await this.kubectl(["-n", namespace, "delete", "pod", name, "--force", "--grace-period=0", "--wait=false"]);
  }

  /** Waits for an event on an object of this name; gives its message. */
  eventOn(namespace: string, name: string, message: RegExp, deadlineMs = 120_000): Promise<string> {
    return eventually(
      `an event on ${name} that says ${message}`,
      async () => {
        const events = (await this.list("events", namespace)) as unknown as {
          message?: string;
          involvedObject?: { name?: string };
        }[];
        const seen = events
          .filter(({ involvedObject }) => involvedObject?.name === name)
          .map(each => each.message ?? "");
        const found = seen.find(each => message.test(each));
        expect(found !== undefined, () => `seen: ${seen.join(" | ")}`);
        return found;
      },
      deadlineMs,
    );
  }
}
