import type { Claim, IpFamily, Labels, Retention, Sandbox } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { type PodAnnotations, readAnnotations } from "./annotations.ts";
import type { Namespace, Pod } from "./pod.ts";
import { derivePortName } from "./port-name.ts";
import { deriveMembership, type Membership } from "./workload.ts";

/** What the node's configuration says where neither pod nor namespace does. */
export interface ClaimDefaults {
  cluster: string;
  networkSelector: string;
  families?: IpFamily[];
  retention?: Retention;
  availabilityZone?: string;
  physicalNetworks?: string[];
}

export interface ClaimPlace {
  host: string;
  interface: string;
  /** Absent: claimed ahead of the sandbox. */
  sandbox?: Sandbox;
}

/** Made by controllers, other at every rollout or telling nothing that the port does not: not worth a million copies. */
const MACHINE_LABELS = new Set([
  "apps.kubernetes.io/pod-index",
  "batch.kubernetes.io/controller-uid",
  "controller-revision-hash",
  "controller-uid",
  "pod-template-generation",
  "pod-template-hash",
  "statefulset.kubernetes.io/pod-name",
]);

/**
 * The claim a pod makes for one of its interfaces: from the pod, then its namespace, then the configuration. Pure, so
 * that claiming ahead and ADD cannot come to different names. Rejects with `invalid_request` for annotations that say
 * something else than they take.
 */
export function deriveClaim(pod: Pod, namespace: Namespace, defaults: ClaimDefaults, place: ClaimPlace): Claim {
  const wishes = readAnnotations(pod, namespace);
  const membership = deriveMembership(pod);
  const retention = deriveRetention(wishes, membership, defaults);
  const naming = derivePortName(
    pod,
    membership,
    wishes,
    { cluster: defaults.cluster, interface: place.interface },
    retention,
  );
  // Further interfaces are there to be on other networks: which one says their own configuration, not the pod.
  const where: PodAnnotations = place.interface === DEFAULT_INTERFACE ? wishes : {};
  const families = where.families ?? defaults.families;
  return {
    ...naming,
    cluster: defaults.cluster,
    namespace: pod.namespace,
    host: place.host,
    ...(defaults.availabilityZone !== undefined && { availabilityZone: defaults.availabilityZone }),
    ...(defaults.physicalNetworks !== undefined && { physicalNetworks: defaults.physicalNetworks }),
    ...(place.sandbox && { sandbox: place.sandbox }),
    owner: {
      kind: membership.kind === "VirtualMachine" ? "vm" : "pod",
      uid: pod.uid,
      createdAt: new Date(pod.createdAt).toISOString(),
    },
    ...(retention.policy === "sticky" && membership.workload && { workload: membership.workload }),
    networkSelector: where.networkSelector ?? defaults.networkSelector,
    ...(families && { families }),
    retention,
    labels: portLabels(pod.labels),
    ...(where.ips && { ips: where.ips }),
    ...(where.mac !== undefined && { mac: where.mac }),
    ...(wishes.onMismatch && { onMismatch: wishes.onMismatch }),
  };
}

/** A name that comes back is worth keeping an address for; a name that does not is kept only when somebody asks. */
export function deriveRetention(wishes: PodAnnotations, membership: Membership, defaults: ClaimDefaults): Retention {
  if (wishes.portName !== undefined) return { policy: "sticky" };
  const asked = wishes.retention ?? defaults.retention;
  if (asked !== undefined) return asked;
  const returns =
    membership.kind === "StatefulSet" || membership.kind === "VirtualMachine" || wishes.portNameFrom !== undefined;
  return { policy: returns ? "sticky" : "ephemeral" };
}

function portLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => !MACHINE_LABELS.has(key)));
}
