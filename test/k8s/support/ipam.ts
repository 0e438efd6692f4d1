import { join } from "node:path";
import type { Port, PortList } from "../../../ipam-server/contract/index.ts";
import { must, run } from "../../../scripts/lab/command.ts";
import type { Cluster, KubeObject, Pod } from "./cluster.ts";
import { ENVIRONMENT } from "./environment.ts";
import { eventually, expect } from "./eventually.ts";

const CTL = join(import.meta.dirname, "../../../ipam-server/ctl/main.ts");
export const SYSTEM = "mooring-system";

/** The IPAM under test, at its node's address: as people see it through mooringctl, but for ports, which are asked often. */
export class Ipam {
  readonly #ctl: string[];
  readonly #server: string;
  readonly cluster: string;

  constructor(server: string, cluster: string) {
    this.#server = server;
    this.#ctl = [process.execPath, CTL, "--server", server];
    this.cluster = cluster;
  }

  static async find(cluster: Cluster): Promise<Ipam> {
    const pod = await cluster.readyPod(SYSTEM, "mooring-ipam-0");
    const maps = (await cluster.api.list(`/api/v1/namespaces/${SYSTEM}/configmaps`)).items as (KubeObject & {
      data?: Record<string, string>;
    })[];
    const name = maps.find(({ metadata, data }) => metadata.name.startsWith("mooring-") && data?.cluster)?.data
      ?.cluster;
    if (name === undefined) throw new Error(`no ConfigMap in ${SYSTEM} has the cluster's name`);
    return new Ipam(`http://${pod.status.hostIP}:7070`, name);
  }

  ctl(...args: string[]): Promise<string> {
    return must([...this.#ctl, ...args]);
  }

  async #get(path: string): Promise<unknown> {
    const response = await fetch(`${this.#server}${path}`, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  async ports(): Promise<Port[]> {
    const ports: Port[] = [];
    let cursor: string | undefined;
    do {
      const page = (await this.#get(`/v1/ports?limit=1000${cursor ? `&cursor=${cursor}` : ""}`)) as PortList;
      ports.push(...page.ports);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return ports;
  }

  /** The port of a pod, by the name that its namespace and name make. Rejects when there is none. */
  async portOf(pod: { metadata: { namespace?: string; name: string } }): Promise<Port> {
    const name = `${this.cluster}/${pod.metadata.namespace}/${pod.metadata.name}`;
    return (await this.#get(`/v1/ports/${encodeURIComponent(name)}`)) as Port;
  }

  /** Waits until the port is bound to this very pod, sandbox and all. */
  boundTo(pod: Pod): Promise<Port & { binding: NonNullable<Port["binding"]> & { sandbox: { id: string } } }> {
    return eventually(`a binding of ${pod.metadata.name}`, async () => {
      const port = await this.portOf(pod);
      const isTheirs = port.binding?.ownerUid === pod.metadata.uid && port.binding.sandbox !== undefined;
      expect(isTheirs, () => JSON.stringify(port.binding));
      return port as never;
    });
  }

  /** Waits until books, bindings and pods agree, both ways. */
  settled(deadlineMs = 180_000): Promise<true> {
    const args = ["check", "--kubeconfig", ENVIRONMENT.kubeconfig, "--cluster", this.cluster];
    return eventually(
      "bindings and pods to agree",
      async () => {
        const { code, stdout, stderr } = await run([...this.#ctl, ...args]);
        return expect(code === 0, () => `${stdout}${stderr}`);
      },
      deadlineMs,
    ) as Promise<true>;
  }
}
