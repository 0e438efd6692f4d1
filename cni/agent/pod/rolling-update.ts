import type { Claim } from "../../../ipam-server/contract/index.ts";
import type { Pod } from "./pod.ts";
import { deriveMembership } from "./workload.ts";

/**
 * What to change if the port of this name is in use, or undefined if no update is the cause. A rolling update starts the new
 * pod first and ends the old one when the new one is ready, so that with one name for both it waits for ever.
 */
export function explainNameInUse(pod: Pod, { nameFrom = "pod" }: Claim): string | undefined {
  const membership = deriveMembership(pod);
  if (nameFrom === "pod" || membership.kind !== "replicas") return undefined;
  const workload = `${membership.workload?.kind ?? "workload"} ${pod.namespace}/${membership.application}`;
  return `if its pod before this one has the port, the rolling update of ${workload} never ends: set its rollingUpdate to maxSurge: 0 and maxUnavailable: 1`;
}
