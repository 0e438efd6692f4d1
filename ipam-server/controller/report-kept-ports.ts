import type { MooringEvent, Port, Workload } from "../contract/index.ts";
import type { KubeEvent, Subject } from "../kube/kube-events.ts";
import type { PodView } from "../kube/objects.ts";
import type { Due } from "./decide-gone.ts";

/**
 * What to tell a pod of an event of the IPAM: that its address came along from another node. `lastHost` is where the
 * port was bound before, as far as this controller has seen.
 */
export function describeMove(
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

/** Whom to tell that an address was given back: the workload that no longer asks for it, or the pod that is no more. */
export function describeGivenBack({ port, verdict }: Due, podName: string | undefined): KubeEvent | undefined {
  const addresses = port.fixedIps.map(ip => ip.address).join(", ");
  if (verdict.action === "delete") {
    if (port.workload === undefined) return undefined;
    const message = `Gave back ${addresses} (port ${port.name}): ${verdict.reason}`;
    return { subject: workloadSubject(port.workload), type: "Normal", reason: "AddressGivenBack", message };
  }
  const { namespace } = port;
  if (namespace === undefined) return undefined;
  const subject = {
    apiVersion: "v1",
    kind: "Pod",
    namespace,
    name: podName ?? lastPart(port),
    uid: verdict.binding.ownerUid,
  };
  const message = `Released ${addresses} (port ${port.name}) on ${verdict.binding.host}: ${verdict.reason}`;
  return { subject, type: "Warning", reason: "BindingReleased", message };
}

function podSubject({ namespace, name, uid }: PodView): Subject {
  return { apiVersion: "v1", kind: "Pod", namespace, name, uid };
}

function workloadSubject({ kind, namespace, name, uid }: Workload): Subject {
  const apiVersion = kind === "VirtualMachine" ? "kubevirt.io/v1" : kind === "Pod" ? "v1" : "apps/v1";
  return { apiVersion, kind, namespace, name, ...(uid !== undefined && { uid }) };
}

/** The pod's name where the port is named after it, else something like it: an event needs one, the UID is what counts. */
function lastPart(port: Port): string {
  const last = port.name.split("/").at(2) ?? "pod";
  return /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(last) ? last : "pod";
}
