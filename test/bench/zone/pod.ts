import { deriveClaim } from "../../../cni/agent/pod/derive-claim.ts";
import type { Pod } from "../../../cni/agent/pod/pod.ts";
import type { Claim, NetworkManifest } from "../../../ipam-server/contract/index.ts";

/** One incarnation of a pod: its Kubernetes fields, and the sandbox that the runtime made. */
export interface ZonePod {
  index: number;
  /** Of its port. */
  name: string;
  pod: Pod;
  sandboxId: string;
  /** Of a StatefulSet: its next life has the same name, and keeps the address. */
  isSticky: boolean;
}

const CLUSTER = "zone-1";
const ZONE = "az1";
const PHYSICAL_NETWORK = "physnet1";
const NAMESPACES = 20;
const REPLICAS_OF_A_SET = 10;

/** The networks of one availability zone: room for a hundred thousand pods on four VLANs. */
export function zoneNetworks(): NetworkManifest[] {
  return [0, 1, 2, 3].map(index => ({
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name: `${ZONE}-prod-${index}`, labels: { env: "prod" } },
    spec: {
      availabilityZone: ZONE,
      segment: { type: "vlan", id: 100 + index, physicalNetwork: PHYSICAL_NETWORK },
      mtu: 1500,
      subnets: [{ cidr: `10.${100 + index}.0.0/17`, gateway: `10.${100 + index}.0.1` }],
    },
  }));
}

/** The index-th pod of the zone in its `life`-th life: in every life the same one where it is sticky, else another. */
export function zonePod(index: number, life: number, isSticky: boolean): ZonePod {
  const namespace = `team-${index % NAMESPACES}`;
  const application = `app-${Math.floor(index / REPLICAS_OF_A_SET)}`;
  const ordinal = index % REPLICAS_OF_A_SET;
  const hash = (index * 0x9e3779b1 + life).toString(36).slice(-9);
  const name = isSticky ? `${application}-${ordinal}` : `${application}-7d4b9c6f5-${hash}-${index}-${life}`;
  const digits = `${index.toString(16).padStart(8, "0")}${life.toString(16).padStart(8, "0")}`;
  const controller = isSticky
    ? { apiVersion: "apps/v1", kind: "StatefulSet", name: application, uid: `${digits}-set` }
    : { apiVersion: "apps/v1", kind: "ReplicaSet", name: `${application}-7d4b9c6f5`, uid: `${digits}-set` };
  const pod: Pod = {
    namespace,
    name,
    uid: `${digits}-93b0-4c1f-8e5c-0a5800000000`,
    createdAt: new Date().toISOString(),
    labels: { app: application, tier: "web", "pod-template-hash": "7d4b9c6f5" },
    annotations: {},
    controller,
    hostNetwork: false,
    deleting: false,
    finished: false,
  };
  return { index, name: `${CLUSTER}/${namespace}/${name}`, pod, sandboxId: digits.padEnd(64, "f"), isSticky };
}

/** By the agent's own rules. */
export function claimOf({ pod, sandboxId }: ZonePod, host: string, stage: "preclaim" | "add"): Claim {
  const defaults = {
    cluster: CLUSTER,
    networkSelector: "env=prod",
    availabilityZone: ZONE,
    physicalNetworks: [PHYSICAL_NETWORK],
  };
  const sandbox = stage === "add" ? { sandbox: { id: sandboxId, interface: "eth0" } } : {};
  return deriveClaim(pod, { name: pod.namespace, annotations: {} }, defaults, { host, interface: "eth0", ...sandbox });
}
