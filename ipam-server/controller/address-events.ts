import type { HeldPass, MooringEvent, Port, Workload } from "../contract/index.ts";
import type { KubeEvent, Subject } from "../kube/kube-events.ts";
import type { PodView } from "../kube/objects.ts";
import type { Reclaim } from "./decide-reclaims.ts";
import type { Outcome } from "./sweeper.ts";

/**
 * Returns the Kubernetes event for a pod whose address moved with it from another node; undefined if the IPAM's event
 * is no such move. `lastHost` is the port's previous host, if this controller observed it.
 */
export function buildMoveEvent(
  event: MooringEvent,
  lastHost: string | undefined,
  pod: PodView | undefined,
): KubeEvent | undefined {
  if ((event.type !== "port.moved" && event.type !== "port.bound") || pod === undefined) return undefined;
  const from = event.fromHost ?? lastHost;
  if (from === undefined || event.host === undefined || from === event.host) return undefined;
  const addresses = event.addresses?.join(", ") ?? "its address";
  const message = `Kept ${addresses} (port ${event.port}) across the move from ${from} to ${event.host}`;
  return { subject: podSubject(pod), type: "Normal", reason: "AddressKept", message };
}

/** Returns the event for what became of a port: on the workload that no longer needs it, or on the deleted pod. */
export function buildReclaimEvent({ port, decision }: Reclaim, outcome: Outcome): KubeEvent | undefined {
  const addresses = port.fixedIps.map(ip => ip.address).join(", ");
  if (decision.action === "restore") return undefined;
  if (decision.action === "retire") {
    if (port.workload === undefined) return undefined;
    const subject = workloadSubject(port.workload);
    const of = `${addresses} (port ${port.name})`;
    if (outcome.deleted) {
      return { subject, type: "Normal", reason: "AddressReclaimed", message: `Reclaimed ${of}: ${decision.reason}` };
    }
    const until = outcome.expiresAt === undefined ? "until it is deleted by hand" : `until ${outcome.expiresAt}`;
    return { subject, type: "Normal", reason: "AddressRetained", message: `Keeps ${of} ${until}: ${decision.reason}` };
  }
  const { namespace } = port;
  if (namespace === undefined) return undefined;
  const subject = {
    apiVersion: "v1",
    kind: "Pod",
    namespace,
    name: lastPart(port),
    uid: decision.binding.ownerUid,
  };
  const message = `Released ${addresses} (port ${port.name}) on ${decision.binding.host}: ${decision.reason}`;
  return { subject, type: "Warning", reason: "BindingReleased", message };
}

/** Returns the event for a pass that waits for a person, on the Lease of the controller. */
export function buildHeldEvent(
  cluster: string,
  { id, releases, deletions, ports }: HeldPass,
  lease: LeaseName,
): KubeEvent {
  const message =
    `Held back: one pass would release ${releases} bindings and delete ${deletions} kept ports of ${ports}. ` +
    `If their pods and workloads are gone indeed: mooringctl confirm ${cluster} ${id}`;
  return { subject: leaseSubject(lease), type: "Warning", reason: "ReclaimsHeld", message };
}

/** Returns the event for a name that belongs to another cluster, on the Lease of the controller. */
export function buildRefusedEvent(message: string, lease: LeaseName): KubeEvent {
  return { subject: leaseSubject(lease), type: "Warning", reason: "ClusterNameRefused", message };
}

interface LeaseName {
  namespace: string;
  name: string;
}

function leaseSubject({ namespace, name }: LeaseName): Subject {
  return { apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace, name };
}

function podSubject({ namespace, name, uid }: PodView): Subject {
  return { apiVersion: "v1", kind: "Pod", namespace, name, uid };
}

function workloadSubject({ kind, namespace, name, uid }: Workload): Subject {
  const apiVersion = kind === "VirtualMachine" ? "kubevirt.io/v1" : kind === "Pod" ? "v1" : "apps/v1";
  return { apiVersion, kind, namespace, name, ...(uid !== undefined && { uid }) };
}

/**
 * Returns the pod's name if the port is named after it, else a placeholder: an event requires a name but is found by
 * UID.
 */
function lastPart(port: Port): string {
  const last = port.name.split("/").at(2) ?? "pod";
  return /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(last) ? last : "pod";
}
