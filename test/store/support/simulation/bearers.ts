import type { Claim, OwnerKind, Workload } from "../../../../ipam-server/contract/index.ts";
import { bornAt } from "../builders.ts";

/** What a claim says of who bears its name. */
export type Bearer = Pick<Claim, "owner" | "nameFrom" | "workload" | "cluster" | "namespace">;

type Sort = Pick<Claim, "nameFrom"> & { kind: OwnerKind; workload?: Workload["kind"] };

export const SORTS: readonly Sort[] = [
  { kind: "pod" },
  { kind: "pod", workload: "StatefulSet" },
  { kind: "vm", workload: "VirtualMachine" },
  { kind: "vm" },
  { kind: "device" },
  { kind: "pod", workload: "Deployment", nameFrom: "labels" },
];

/** A new owner of this sort for `cluster/namespace/...` names; of others for a namespace of the cluster. */
export function makeBearer(sort: Sort, cluster: string, uid: string, seconds: number): Bearer {
  const { kind, workload, nameFrom } = sort;
  return {
    owner: { ...bornAt(uid, seconds), kind },
    ...(nameFrom && { nameFrom }),
    ...(workload && { workload: { kind: workload, namespace: "default", name: "app" } }),
    cluster,
    namespace: "default",
  };
}

/** Part of a port's name: another identity's owner never gets the port. */
export function identityOf({ owner, nameFrom = "pod", workload }: Bearer): string {
  const isSet = owner.kind === "pod" && nameFrom === "pod" && workload?.kind === "StatefulSet";
  return `${isSet ? "StatefulSet" : owner.kind} named from ${nameFrom}`;
}

/** True if Kubernetes has at most one owner of the name, so that the newer one replaces the older. */
export const isOrdered = ({ owner, nameFrom = "pod", workload }: Bearer): boolean =>
  nameFrom === "pod" && (owner.kind === "pod" || owner.kind === "lease" || workload !== undefined);

/** The bearer's part of a claim. */
export function bearerOf({ owner, nameFrom, workload, cluster, namespace }: Bearer): Bearer {
  return {
    owner,
    ...(nameFrom && { nameFrom }),
    ...(workload && { workload }),
    ...(cluster && { cluster }),
    ...(namespace && { namespace }),
  };
}
