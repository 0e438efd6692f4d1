import { deriveClaim } from "../../../../cni/agent/pod/derive-claim.ts";
import { readNamespace, readPod } from "../../../../cni/agent/pod/pod.ts";
import type { Claim, Retention } from "../../../../ipam-server/contract/index.ts";
import { namespaceObject, type PodShape, podObject } from "./pods.ts";

export const DEFAULTS = { cluster: "c1", networkSelector: "env=prod" };

/** Derives the claim of a pod on node-a in namespace `shop`. */
export function claimOf(
  shape: PodShape,
  options: { ns?: Record<string, string>; interface?: string; retention?: Retention } = {},
): Claim {
  const defaults = { ...DEFAULTS, ...(options.retention && { retention: options.retention }) };
  const place = { host: "node-a", interface: options.interface ?? "eth0" };
  return deriveClaim(readPod(podObject(shape)), readNamespace(namespaceObject(options.ns)), defaults, place);
}
