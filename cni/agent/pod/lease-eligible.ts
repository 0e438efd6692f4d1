import type { Claim } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import type { Pod } from "./pod.ts";

/** As the API server makes names: at most 58 characters of `generateName`, then five of these. */
const LONGEST_BASE = 58;
const RANDOM = /^[bcdfghjklmnpqrstvwxz2456789]{5}$/;

/**
 * Whether the pod's claim may be answered with any address that this node has been leased. Only for a port that nobody can
 * have made before: ephemeral, without wanted addresses, of the pod's first interface, and under a name that the API
 * server made up. A name that comes back may have a port waiting for it, which only the IPAM knows.
 */
export function canUseLease(claim: Claim, pod: Pod): boolean {
  const { name, nameFrom = "pod", owner, sandbox, retention, ips, mac } = claim;
  const asksForAny = ips === undefined && mac === undefined;
  const isFirst = sandbox === undefined || sandbox.interface === DEFAULT_INTERFACE;
  const isEphemeral = retention === undefined || retention.policy === "ephemeral";
  const isOfPod = name !== undefined && nameFrom === "pod" && owner.kind === "pod";
  return asksForAny && isFirst && isEphemeral && isOfPod && hasGeneratedName(pod);
}

/** A StatefulSet's pods carry its `generateName` and are numbered. */
function hasGeneratedName({ name, generateName, controller }: Pod): boolean {
  if (generateName === undefined || controller?.kind === "StatefulSet") return false;
  const base = generateName.slice(0, LONGEST_BASE);
  return name.startsWith(base) && RANDOM.test(name.slice(base.length));
}
