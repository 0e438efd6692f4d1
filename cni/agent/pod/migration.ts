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

/** The owner reference proves it: anyone may write the labels. */
export function deriveMigration({ controller, labels, annotations }: Pod): MigrationTarget | undefined {
  const id = labels[JOB_UID];
  const isInstance = controller?.kind === "VirtualMachineInstance" && controller.apiVersion.startsWith("kubevirt.io/");
  if (!isInstance || id === undefined || id === "") return undefined;
  return { id, instance: controller.name, isReady: annotations[TARGET_READY] !== undefined };
}
