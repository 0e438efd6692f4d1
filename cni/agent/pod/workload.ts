import type { Workload } from "../../../ipam-server/contract/index.ts";
import { hasGeneratedName } from "./generated-name.ts";
import type { Pod } from "./pod.ts";

/** The workload a pod belongs to. */
export type Membership =
  | { kind: "StatefulSet"; workload: Workload }
  /**
   * Pods that replace one another under new names. `application` is the workload they have in common. Without `workload` it
   * is of a kind that the controller does not watch, such as a Rollout or a CloneSet.
   */
  | { kind: "replicas"; application: string; workload?: Workload }
  | { kind: "VirtualMachine"; workload: Workload }
  /** Its name returns, but only its controller, of a kind that is not watched, knows when. */
  | { kind: "named"; workload?: never }
  /** Any other pod: its name may never return. */
  | { kind: "pod"; workload?: Workload };

/** Of custom resources nothing is known. Those of Kubernetes' own kinds that are not named here end with their pods. */
const KUBERNETES_GROUPS = new Set(["v1", "apps", "batch"]);
/** A Deployment, and a Rollout of Argo, name ReplicaSets after themselves and the hash that the pods carry as this label. */
const DEPLOYMENT_HASH = "pod-template-hash";
const ROLLOUT_HASH = "rollouts-pod-template-hash";

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
    const { name, uid } = controller;
    const deployment = ownerOfReplicaSet(pod, name, DEPLOYMENT_HASH);
    if (deployment !== undefined)
      return {
        kind: "replicas",
        application: deployment,
        workload: { kind: "Deployment", namespace, name: deployment },
      };
    const rollout = ownerOfReplicaSet(pod, name, ROLLOUT_HASH);
    if (rollout !== undefined) return { kind: "replicas", application: rollout };
    return { kind: "replicas", application: name, workload: { kind: "ReplicaSet", namespace, name, uid } };
  }
  if (controller !== undefined && group !== undefined && !KUBERNETES_GROUPS.has(group)) {
    return hasGeneratedName(pod) ? { kind: "replicas", application: controller.name } : { kind: "named" };
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

function ownerOfReplicaSet(pod: Pod, replicaSet: string, label: string): string | undefined {
  const hash = pod.labels[label];
  if (hash === undefined || hash === "" || !replicaSet.endsWith(`-${hash}`)) return undefined;
  const name = replicaSet.slice(0, -hash.length - 1);
  return name === "" ? undefined : name;
}
