import { createHash } from "node:crypto";
import { IpamError, type NameFrom, type Retention, type SlotOf } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { ANNOTATION_PREFIX, type PodAnnotations } from "./annotations.ts";
import type { Pod } from "./pod.ts";
import type { Membership } from "./workload.ts";

/** A name, or `slotOf` if the IPAM chooses the name. */
interface PortNaming {
  name?: string;
  nameFrom: NameFrom;
  slotOf?: SlotOf;
}

const MAX_NAME = 253;
/** Room for what the IPAM appends to an application: `/4294967295/` and an interface of 15 characters. */
const SLOT_ROOM = 27;

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
  const isFirst = place.interface === DEFAULT_INTERFACE;
  const suffix = isFirst ? "" : `/${place.interface}`;
  const prefix = `${place.cluster}/${pod.namespace}/`;

  if (annotations.portName !== undefined) return { name: annotations.portName + suffix, nameFrom: "reserved" };
  if (annotations.portNameFrom !== undefined) {
    const values = annotations.portNameFrom.map(key => labelValue(pod, key));
    return { name: bounded(prefix + values.join("/") + suffix, MAX_NAME), nameFrom: "labels" };
  }
  if (membership.kind === "replicas" && retention.policy === "sticky") {
    const application = bounded(prefix + membership.application, MAX_NAME - SLOT_ROOM);
    const slotOf = { application, ...(!isFirst && { interface: place.interface }) };
    return { nameFrom: "pod", slotOf };
  }
  const own = membership.kind === "VirtualMachine" ? membership.workload.name : pod.name;
  return { name: bounded(prefix + own + suffix, MAX_NAME), nameFrom: "pod" };
}

function labelValue(pod: Pod, key: string): string {
  const value = Object.hasOwn(pod.labels, key) ? pod.labels[key] : undefined;
  if (value !== undefined && value !== "") return value;
  const annotation = `${ANNOTATION_PREFIX}port-name-from`;
  const state = value === undefined ? "has no label" : "has an empty label";
  const message = `Annotation ${annotation} names the label ${key}, but pod ${pod.namespace}/${pod.name} ${state} ${key}; it takes keys of labels that the pod has`;
  throw new IpamError("invalid_request", message, { field: `metadata.annotations[${annotation}]` });
}

/** Replaces the end of a longer name by its hash, because a pod's name alone may have as many characters as a port's. */
function bounded(name: string, limit: number): string {
  if (name.length <= limit) return name;
  const digest = createHash("sha256").update(name).digest("hex").slice(0, 16);
  return `${name.slice(0, limit - digest.length - 1)}@${digest}`;
}
