import { randomBytes, randomUUID } from "node:crypto";
import { type CniAnswer, cni, deriveConf } from "./cni.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Ipam } from "./ipam.ts";
import type { LabNode } from "./node.ts";
import type { Topology } from "./topology.ts";

/** A pod's sandbox as a runtime knows it. */
export interface PodSandbox {
  containerId: string;
  pod: { namespace: string; name: string; uid: string };
  endpoint: Endpoint;
}

/** Plays the container runtime: makes sandboxes and calls the executable for them. */
export class Runtime {
  readonly #topology: Topology;
  readonly #ipam: Ipam;
  #count = 0;

  constructor(topology: Topology, ipam: Ipam) {
    this.#topology = topology;
    this.#ipam = ipam;
  }

  /** A new sandbox, not yet plugged. Without `uid` the pod is a new one of the same name. */
  async create(name: string, uid: string = randomUUID()): Promise<PodSandbox> {
    const endpoint = await this.#topology.addPod(`${name}-${++this.#count}`);
    return { containerId: randomBytes(32).toString("hex"), pod: { namespace: "default", name, uid }, endpoint };
  }

  add(node: LabNode, sandbox: PodSandbox, conf: object = {}): Promise<CniAnswer> {
    return cni(node, "ADD", this.derive(node, sandbox, conf));
  }

  check(node: LabNode, sandbox: PodSandbox, conf: object = {}): Promise<CniAnswer> {
    return cni(node, "CHECK", this.derive(node, sandbox, conf));
  }

  del(node: LabNode, sandbox: PodSandbox, conf: object = {}): Promise<CniAnswer> {
    return cni(node, "DEL", this.derive(node, sandbox, conf));
  }

  /** The call for this sandbox: everything but the verb. */
  derive(node: LabNode, sandbox: PodSandbox, conf: object = {}) {
    const { namespace, name, uid } = sandbox.pod;
    return {
      containerId: sandbox.containerId,
      netns: sandbox.endpoint.netns,
      args: { K8S_POD_NAMESPACE: namespace, K8S_POD_NAME: name, K8S_POD_UID: uid },
      conf: deriveConf(this.#topology, node, this.#ipam, conf),
    };
  }
}
