import { IpamError, type NameFrom, type Retention, type SlotOf } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { formatInterface, formatInterfaceSuffix, formatPortName, shorten } from "../../verbs/port-name.ts";
import { ANNOTATION_PREFIX, type PodAnnotations } from "./annotations.ts";
import type { Pod } from "./pod.ts";
import type { Membership } from "./workload.ts";

/** A name, or `slotOf` if the IPAM chooses the name. */
interface PortNaming {
  name?: string;
  nameFrom: NameFrom;
  slotOf?: SlotOf;
}

/** A port's name less what the IPAM appends to an application: `/4294967295/` and an interface of 15 characters. */
const MAX_APPLICATION = 253 - 27;

/**
 * | pod                                             | name                                         |
 * |-------------------------------------------------|----------------------------------------------|
 * | annotation `port-name: X`                       | `X`                                          |
 * | annotation `port-name-from: app,shard`          | `cluster/namespace/` values joined by `/`    |
 * | sticky pod of a Deployment, Rollout, CloneSet   | `cluster/namespace/application/` slot (IPAM) |
 * | KubeVirt VM                                     | `cluster/namespace/vm`                       |
 * | any other                                       | `cluster/namespace/pod`                      |
 * | interface other than `eth0`                     | the above and `/interface`                   |
 */
export function derivePortName(
  pod: Pod,
  membership: Membership,
  annotations: PodAnnotations,
  place: { cluster: string; interface: string },
  retention: Retention,
): PortNaming {
  const prefix = `${place.cluster}/${pod.namespace}/`;

  if (annotations.portName !== undefined)
    return { name: annotations.portName + formatInterfaceSuffix(place.interface), nameFrom: "reserved" };
  if (annotations.portNameFrom !== undefined) {
    const values = annotations.portNameFrom.map(key => labelValue(pod, key));
    return { name: formatPortName(prefix + values.join("/"), place.interface), nameFrom: "labels" };
  }
  if (membership.kind === "replicas" && retention.policy === "sticky") {
    const application = shorten(prefix + membership.application, MAX_APPLICATION);
    const isFirst = place.interface === DEFAULT_INTERFACE;
    const slotOf = { application, ...(!isFirst && { interface: formatInterface(place.interface) }) };
    return { nameFrom: "pod", slotOf };
  }
  const own = membership.kind === "VirtualMachine" ? membership.workload.name : pod.name;
  return { name: formatPortName(prefix + own, place.interface), nameFrom: "pod" };
}

function labelValue(pod: Pod, key: string): string {
  const value = Object.hasOwn(pod.labels, key) ? pod.labels[key] : undefined;
  if (value !== undefined && value !== "") return value;
  const annotation = `${ANNOTATION_PREFIX}port-name-from`;
  const state = value === undefined ? "has no label" : "has an empty label";
  const message = `Annotation ${annotation} names the label ${key}, but pod ${pod.namespace}/${pod.name} ${state} ${key}; it takes keys of labels that the pod has`;
  throw new IpamError("invalid_request", message, { field: `metadata.annotations[${annotation}]` });
}
