import type { Workload } from "../../../ipam-server/contract/index.ts";
import type { Pod } from "./pod.ts";

/** The pod's part in what it belongs to. */
export type Membership =
  | { kind: "StatefulSet"; workload: Workload }
  /** `workload.name` is the application: the Deployment, or the ReplicaSet that stands alone. */
  | { kind: "replicas"; workload: Workload }
  | { kind: "VirtualMachine"; workload: Workload }
  /** Anything else: nothing promises that a pod of this name comes back. */
  | { kind: "pod"; workload?: Workload };

/** Reads from the pod alone whose life its address would follow; asks nobody. */
export function deriveMembership(pod: Pod): Membership {
  const { controller, namespace } = pod;
  const group = controller?.apiVersion.split("/")[0];
  const machine = pod.labels["vm.kubevirt.io/name"] ?? pod.labels["kubevirt.io/domain"];

  if (group === "kubevirt.io" && controller?.kind === "VirtualMachineInstance") {
    // KubeVirt names the instance after its machine; the label is cut where it is longer than a label may be.
    return { kind: "VirtualMachine", workload: { kind: "VirtualMachine", namespace, name: controller.name } };
  }
  if (controller === undefined && machine !== undefined && pod.labels["kubevirt.io"] === "virt-launcher") {
    return { kind: "VirtualMachine", workload: { kind: "VirtualMachine", namespace, name: machine } };
  }
  if (group === "apps" && controller?.kind === "StatefulSet") {
    const { name, uid } = controller;
    const ordinal = ordinalOf(pod, name);
    // A pod that a set adopted without an ordinal is not one the set would make again.
    if (ordinal === undefined) return { kind: "pod", workload: podWorkload(pod) };
    return { kind: "StatefulSet", workload: { kind: "StatefulSet", namespace, name, uid, ordinal } };
  }
  if (group === "apps" && controller?.kind === "ReplicaSet") {
    const deployment = deploymentOf(pod, controller.name);
    return {
      kind: "replicas",
      workload:
        deployment === undefined
          ? { kind: "ReplicaSet", namespace, name: controller.name, uid: controller.uid }
          : { kind: "Deployment", namespace, name: deployment },
    };
  }
  // A pod without a controller was made by hand and may be made again by hand: only a person can say when it is over.
  return controller === undefined ? { kind: "pod" } : { kind: "pod", workload: podWorkload(pod) };
}

function podWorkload(pod: Pod): Workload {
  return { kind: "Pod", namespace: pod.namespace, name: pod.name, uid: pod.uid };
}

function ordinalOf(pod: Pod, set: string): number | undefined {
  if (!pod.name.startsWith(`${set}-`)) return undefined;
  const suffix = pod.name.slice(set.length + 1);
  return /^(?:0|[1-9]\d{0,9})$/.test(suffix) ? Number(suffix) : undefined;
}

/** A Deployment names its ReplicaSets after itself and the hash that the pods carry as a label. */
function deploymentOf(pod: Pod, replicaSet: string): string | undefined {
  const hash = pod.labels["pod-template-hash"];
  if (hash === undefined || hash === "" || !replicaSet.endsWith(`-${hash}`)) return undefined;
  const name = replicaSet.slice(0, -hash.length - 1);
  return name === "" ? undefined : name;
}
