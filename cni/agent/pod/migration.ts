import type { Pod } from "./pod.ts";

/** What KubeVirt writes on the pods of a live migration. */
const JOB_UID = "kubevirt.io/migrationJobUID";
const TARGET_READY = "kubevirt.io/migration-target-ready-timestamp";

/** A pod that was made as the target of a live migration. It stays one after the machine has moved to it. */
export interface MigrationTarget {
  /** UID of the migration. */
  id: string;
  /** The VirtualMachineInstance that migrates. */
  instance: string;
  /** True once the pod says that the machine runs in it. */
  isReady: boolean;
}

export function deriveMigration(pod: Pod): MigrationTarget | undefined {
  const id = pod.labels[JOB_UID];
  const instance = findInstance(pod);
  if (instance === undefined || id === undefined || id === "") return undefined;
  return { id, instance, isReady: pod.annotations[TARGET_READY] !== undefined };
}

/** Returns the VirtualMachineInstance of the pod. Its owner reference proves it: anyone may write the labels. */
export function findInstance({ controller }: Pod): string | undefined {
  const isInstance = controller?.kind === "VirtualMachineInstance" && controller.apiVersion.startsWith("kubevirt.io/");
  return isInstance ? controller.name : undefined;
}
