import type { Claim } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { hasGeneratedName } from "./generated-name.ts";
import type { Pod } from "./pod.ts";

/**
 * True if the claim may be granted any leased address: ephemeral, without requested addresses, for the first interface, and
 * with a generated pod name. A name that returns may have a port already, which only the IPAM can say.
 */
export function canUseLease(claim: Claim, pod: Pod): boolean {
  const { name, nameFrom = "pod", owner, sandbox, retention, ips, mac } = claim;
  const acceptsAny = ips === undefined && mac === undefined;
  const isFirst = sandbox === undefined || sandbox.interface === DEFAULT_INTERFACE;
  const isEphemeral = retention === undefined || retention.policy === "ephemeral";
  const isOfPod = name !== undefined && nameFrom === "pod" && owner.kind === "pod";
  return acceptsAny && isFirst && isEphemeral && isOfPod && hasGeneratedName(pod);
}
