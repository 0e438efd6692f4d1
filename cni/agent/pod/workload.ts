import type { Workload } from "../../../ipam-server/contract/index.ts";
import type { Pod } from "./pod.ts";

/** The workload a pod belongs to. */
export type Membership =
  | { kind: "StatefulSet"; workload: Workload }
  /** `workload.name` is the Deployment, or the ReplicaSet if it has none. */
  | { kind: "replicas"; workload: Workload }
  | { kind: "VirtualMachine"; workload: Workload }
  /** Any other pod: its name may never return. */
  | { kind: "pod"; workload?: Workload };

/** Derives from the pod alone the workload that a sticky address belongs to. */
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
    // A StatefulSet does not recreate an adopted pod without an ordinal.
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
  // A pod without a controller may be recreated by hand, so that it has no workload whose end releases the address.
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
