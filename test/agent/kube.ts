import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { NODE } from "../../scripts/lab/paths.ts";
import { IPAM_ADDRESS, type Topology } from "../../scripts/lab/topology.ts";

const PROGRAM = fileURLToPath(new URL("kube-process.ts", import.meta.url));

export interface PodSpec {
  name: string;
  uid: string;
  nodeName?: string;
  annotations?: Record<string, string>;
  labels?: Record<string, string>;
  ownerReferences?: object[];
  phase?: string;
  /** What the API server made the name of. */
  generateName?: string;
}

/** The fake Kubernetes API in the lab's `mgmt` namespace, where every node reaches it. */
export class LabKube implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #serial = 0;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
    child.on("message", ({ id, result }: { id: number; result: unknown }) => {
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  static async start(topology: Topology): Promise<LabKube> {
    const [file = "", ...args] = topology.mgmt.inside([NODE, PROGRAM, IPAM_ADDRESS]);
    const child = spawn(file, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    child.once("error", reject);
    child.once("exit", code => reject(new Error(`the fake Kubernetes API ended with ${code}`)));
    child.once("message", ({ result }: { result: string }) => resolve(result));
    return new LabKube(child, await promise);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.once("exit", () => resolve());
    this.#child.disconnect();
    await promise;
  }

  ask(method: string, ...args: unknown[]): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const id = ++this.#serial;
    this.#waiting.set(id, resolve);
    this.#child.send({ id, method, args });
    return promise;
  }

  async putPod(pod: PodSpec) {
    const { name, uid, nodeName, annotations, labels, ownerReferences, generateName, phase = "Pending" } = pod;
    await this.ask("put", "/api/v1/pods", {
      metadata: {
        name,
        namespace: "default",
        uid,
        creationTimestamp: new Date().toISOString(),
        ...(generateName !== undefined && { generateName }),
        ...(annotations && { annotations }),
        ...(labels && { labels }),
        ...(ownerReferences && { ownerReferences }),
      },
      spec: nodeName === undefined ? {} : { nodeName },
      status: { phase },
    });
  }

  /** A KubeVirt instance that runs on this node, as its status says. */
  async putInstance(name: string, nodeName: string): Promise<void> {
    const metadata = { name, namespace: "default" };
    await this.ask("put", "/apis/kubevirt.io/v1/virtualmachineinstances", { metadata, status: { nodeName } });
  }

  async removePod(name: string): Promise<void> {
    await this.ask("remove", "/api/v1/pods", "default", name);
  }

  /** `kubectl cordon`, and `uncordon`. */
  async putNode(name: string, unschedulable: boolean): Promise<void> {
    await this.ask("put", "/api/v1/nodes", { metadata: { name, namespace: "" }, spec: { unschedulable } });
  }

  async putNamespace(name: string, annotations: Record<string, string> = {}): Promise<void> {
    await this.ask("put", "/api/v1/namespaces", { metadata: { name, namespace: "", annotations } });
  }

  async events(): Promise<{ reason: string; message: string; count: number; involvedObject: { name: string } }[]> {
    return (await this.ask("items", "/api/v1/events")) as never;
  }
}
