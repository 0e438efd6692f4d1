import type { Claim, IpFamily, Labels, Retention, Sandbox } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { type PodAnnotations, readAnnotations } from "./annotations.ts";
import { deriveMigration } from "./migration.ts";
import type { Namespace, Pod } from "./pod.ts";
import { derivePortName } from "./port-name.ts";
import { deriveMembership, type Membership } from "./workload.ts";

/** The node's configuration, for fields that neither pod nor namespace set. */
export interface ClaimDefaults {
  cluster: string;
  networkSelector: string;
  families?: IpFamily[];
  retention?: Retention;
  availabilityZone?: string;
  physicalNetworks?: string[];
}

interface ClaimPlace {
  host: string;
  interface: string;
  /** Absent in a pre-claim. */
  sandbox?: Sandbox;
}

/** Controller-generated labels: they change every rollout or repeat other fields. */
const MACHINE_LABELS = new Set([
  "apps.kubernetes.io/pod-index",
  "batch.kubernetes.io/controller-uid",
  "controller-revision-hash",
  "controller-uid",
  "pod-template-generation",
  "pod-template-hash",
  "rollouts-pod-template-hash",
  "statefulset.kubernetes.io/pod-name",
]);

/**
 * Derives the claim of a pod's interface from the pod, then its namespace, then the configuration. Pure, so that the
 * pre-claim and ADD derive the same name. Throws IpamError `invalid_request` for invalid annotations.
 */
export function deriveClaim(pod: Pod, namespace: Namespace, defaults: ClaimDefaults, place: ClaimPlace): Claim {
  const annotations = readAnnotations(pod, namespace);
  const membership = deriveMembership(pod);
  const migration = deriveMigration(pod);
  const retention = deriveRetention(annotations, membership, defaults);
  const naming = derivePortName(
    pod,
    membership,
    annotations,
    { cluster: defaults.cluster, interface: place.interface },
    retention,
  );
  // Other interfaces are on other networks, which their network configuration selects and not the pod.
  const where: PodAnnotations = place.interface === DEFAULT_INTERFACE ? annotations : {};
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
    ...(membership.workload && isOfIdentity(membership, retention) && { workload: membership.workload }),
    ...(migration && { migration: { id: migration.id } }),
    networkSelector: where.networkSelector ?? defaults.networkSelector,
    ...(families && { families }),
    retention,
    labels: portLabels(pod.labels),
    ...(where.ips && { ips: where.ips }),
    ...(where.mac !== undefined && { mac: where.mac }),
    ...(annotations.onMismatch && { onMismatch: annotations.onMismatch }),
  };
}

/** True if the IPAM needs the workload: it ends a kept port, and these kinds are part of their name's identity. */
const isOfIdentity = ({ kind }: Membership, { policy }: Retention): boolean =>
  policy === "sticky" || kind === "StatefulSet" || kind === "VirtualMachine";

/** How long the port of a workload that the controller does not watch is kept: nothing else ends it. */
const UNWATCHED_TTL_SECONDS = 7 * 86_400;

/** Sticky for names that return, such as those of a StatefulSet; otherwise ephemeral unless requested. */
function deriveRetention(annotations: PodAnnotations, membership: Membership, defaults: ClaimDefaults): Retention {
  if (annotations.portName !== undefined) return { policy: "sticky" };
  const returns =
    membership.kind === "StatefulSet" || membership.kind === "VirtualMachine" || annotations.portNameFrom !== undefined;
  const asked = annotations.retention ?? defaults.retention ?? { policy: returns ? "sticky" : "ephemeral" };
  const isUnwatched = membership.kind !== "pod" && membership.workload === undefined;
  if (asked.policy === "ephemeral" || asked.ttlSeconds !== undefined) return asked;
  if (isUnwatched) return { ...asked, ttlSeconds: UNWATCHED_TTL_SECONDS };
  const { whenDeleted, whenScaled } = annotations;
  return {
    ...asked,
    ...(whenDeleted !== undefined && { whenDeleted }),
    ...(whenScaled !== undefined && { whenScaled }),
  };
}

function portLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => !MACHINE_LABELS.has(key)));
}
