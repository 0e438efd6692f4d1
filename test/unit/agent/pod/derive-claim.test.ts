import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NameFrom, Retention, SlotOf, Workload } from "../../../../ipam-server/contract/index.ts";
import { claimOf } from "./claim-of.ts";
import { type PodShape, REPLICA_SET, STATEFUL_SET, VIRTUAL_MACHINE } from "./pods.ts";

const EPHEMERAL: Retention = { policy: "ephemeral" };
const STICKY: Retention = { policy: "sticky" };
/** What is kept of workloads that the controller does not watch. */
const A_WEEK: Retention = { policy: "sticky", ttlSeconds: 7 * 86_400 };
const CLONE_SET = { apiVersion: "apps.kruise.io/v1alpha1", kind: "CloneSet", name: "web" };
const CLUSTER = { apiVersion: "postgresql.cnpg.io/v1", kind: "Cluster", name: "pg" };

interface Row {
  behaviour: string;
  pod: PodShape;
  ns?: Record<string, string>;
  interface?: string;
  config?: Retention;
  /** Absent if the IPAM chooses it. */
  name?: string;
  nameFrom?: NameFrom;
  retention: Retention;
  slotOf?: SlotOf;
  workload?: Workload;
}

const WEB_SET: Workload = { kind: "StatefulSet", namespace: "shop", name: "web", uid: "owner-uid", ordinal: 0 };
const WEB_DEPLOYMENT: Workload = { kind: "Deployment", namespace: "shop", name: "web" };
const rollout = (annotations?: Record<string, string>): PodShape => ({
  name: "web-7d9c5b-x2x4z",
  labels: { app: "web", "pod-template-hash": "7d9c5b" },
  owner: REPLICA_SET,
  ...(annotations && { annotations }),
});

const ROWS: Row[] = [
  {
    behaviour: "uses a reserved name unchanged and sticky",
    pod: { annotations: { "mooring.dev/port-name": "frontdoor.vip" } },
    name: "frontdoor.vip",
    nameFrom: "reserved",
    retention: STICKY,
  },
  {
    behaviour: "uses a reserved name for a StatefulSet's pod too",
    pod: { owner: STATEFUL_SET, annotations: { "mooring.dev/port-name": "frontdoor" } },
    name: "frontdoor",
    nameFrom: "reserved",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    behaviour: "builds a name of cluster, namespace and labels",
    pod: { labels: { app: "kv", shard: "7" }, annotations: { "mooring.dev/port-name-from": "app, shard" } },
    name: "c1/shop/kv/7",
    nameFrom: "labels",
    retention: STICKY,
  },
  {
    behaviour: "builds a name of labels that the namespace selects",
    pod: { labels: { app: "kv" } },
    ns: { "mooring.dev/port-name-from": "app" },
    name: "c1/shop/kv",
    nameFrom: "labels",
    retention: STICKY,
  },
  {
    behaviour: "prefers a pod's reserved name to its namespace's labels",
    pod: { labels: { app: "kv" }, annotations: { "mooring.dev/port-name": "x" } },
    ns: { "mooring.dev/port-name-from": "app" },
    name: "x",
    nameFrom: "reserved",
    retention: STICKY,
  },
  {
    behaviour: "allows an ephemeral port with a name of labels",
    pod: {
      labels: { app: "kv" },
      annotations: { "mooring.dev/port-name-from": "app", "mooring.dev/retain": "ephemeral" },
    },
    name: "c1/shop/kv",
    nameFrom: "labels",
    retention: EPHEMERAL,
  },
  {
    behaviour: "keeps a StatefulSet's port under the pod's name",
    pod: { name: "web-0", owner: STATEFUL_SET },
    name: "c1/shop/web-0",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    behaviour: "parses the ordinal after the set's name",
    pod: { name: "web-1-12", owner: { ...STATEFUL_SET, name: "web-1" } },
    name: "c1/shop/web-1-12",
    retention: STICKY,
    workload: { ...WEB_SET, name: "web-1", ordinal: 12 },
  },
  {
    behaviour: "treats an adopted pod without an ordinal as any other pod",
    pod: { name: "web-blue", owner: STATEFUL_SET },
    name: "c1/shop/web-blue",
    retention: EPHEMERAL,
  },
  {
    behaviour: "treats a StatefulSet of another API group as any other controller",
    pod: { name: "web-0", owner: { ...STATEFUL_SET, apiVersion: "apps.kruise.io/v1beta1" } },
    name: "c1/shop/web-0",
    retention: EPHEMERAL,
  },
  {
    behaviour: "allows an ephemeral port for a StatefulSet's pod, and names the set",
    pod: { owner: STATEFUL_SET, annotations: { "mooring.dev/retain": "ephemeral" } },
    name: "c1/shop/web-0",
    retention: EPHEMERAL,
    workload: WEB_SET,
  },
  {
    behaviour: "names a KubeVirt machine's port after the machine, not its launcher",
    pod: { name: "virt-launcher-db1-abcde", owner: VIRTUAL_MACHINE, labels: { "vm.kubevirt.io/name": "db1" } },
    name: "c1/shop/db1",
    retention: STICKY,
    workload: { kind: "VirtualMachine", namespace: "shop", name: "db1" },
  },
  {
    behaviour: "recognizes an older KubeVirt's launcher by its labels",
    pod: {
      name: "virt-launcher-db1-abcde",
      labels: { "kubevirt.io": "virt-launcher", "kubevirt.io/domain": "db1" },
    },
    name: "c1/shop/db1",
    retention: STICKY,
    workload: { kind: "VirtualMachine", namespace: "shop", name: "db1" },
  },
  {
    behaviour: "does not treat a pod as a machine for one label alone",
    pod: { name: "sneaky", labels: { "kubevirt.io/domain": "db1" } },
    name: "c1/shop/sneaky",
    retention: EPHEMERAL,
  },
  {
    behaviour: "makes a Deployment's port ephemeral by default",
    pod: rollout(),
    name: "c1/shop/web-7d9c5b-x2x4z",
    retention: EPHEMERAL,
  },
  {
    behaviour: "requests a slot of the application for a sticky Deployment's pod",
    pod: rollout({ "mooring.dev/retain": "sticky" }),
    retention: STICKY,
    slotOf: { application: "c1/shop/web" },
    workload: WEB_DEPLOYMENT,
  },
  {
    behaviour: "requests a slot for a Deployment's pod with a retention time",
    pod: rollout({ "mooring.dev/retain": "24h" }),
    retention: { policy: "sticky", ttlSeconds: 86_400 },
    slotOf: { application: "c1/shop/web" },
    workload: WEB_DEPLOYMENT,
  },
  {
    behaviour: "requests a slot with its interface for a second interface",
    pod: rollout({ "mooring.dev/retain": "sticky" }),
    interface: "net1",
    retention: STICKY,
    slotOf: { application: "c1/shop/web", interface: "net1" },
    workload: WEB_DEPLOYMENT,
  },
  {
    behaviour: "treats a lone ReplicaSet as the application",
    pod: {
      name: "lone-abcde",
      owner: { ...REPLICA_SET, name: "lone" },
      annotations: { "mooring.dev/retain": "sticky" },
    },
    retention: STICKY,
    slotOf: { application: "c1/shop/lone" },
    workload: { kind: "ReplicaSet", namespace: "shop", name: "lone", uid: "owner-uid" },
  },
  {
    behaviour: "makes a bare pod's port ephemeral",
    pod: { name: "shell" },
    name: "c1/shop/shell",
    retention: EPHEMERAL,
  },
  {
    behaviour: "keeps a sticky bare pod's port without a workload",
    pod: { name: "shell", annotations: { "mooring.dev/retain": "sticky" } },
    name: "c1/shop/shell",
    retention: STICKY,
  },
  {
    behaviour: "requests a slot of the Rollout for a sticky pod of its ReplicaSet",
    pod: {
      name: "web-6f8-x2x4z",
      labels: { "rollouts-pod-template-hash": "6f8" },
      owner: { ...REPLICA_SET, name: "web-6f8" },
      annotations: { "mooring.dev/retain": "sticky" },
    },
    retention: A_WEEK,
    slotOf: { application: "c1/shop/web" },
  },
  {
    behaviour: "requests a slot of a custom resource that generates its pods' names",
    pod: {
      name: "web-x2x4z",
      metadata: { generateName: "web-" },
      owner: CLONE_SET,
      annotations: { "mooring.dev/retain": "sticky" },
    },
    retention: A_WEEK,
    slotOf: { application: "c1/shop/web" },
  },
  {
    behaviour: "keeps the name of a custom resource's pod that it does not generate",
    pod: { name: "pg-1", owner: CLUSTER, annotations: { "mooring.dev/retain": "sticky" } },
    name: "c1/shop/pg-1",
    retention: A_WEEK,
  },
  {
    behaviour: "keeps a custom resource's port as long as is requested",
    pod: { name: "pg-1", owner: CLUSTER, annotations: { "mooring.dev/retain": "24h" } },
    name: "c1/shop/pg-1",
    retention: { policy: "sticky", ttlSeconds: 86_400 },
  },
  {
    behaviour: "makes a custom resource's port ephemeral by default",
    pod: { name: "web-x2x4z", metadata: { generateName: "web-" }, owner: CLONE_SET },
    name: "c1/shop/web-x2x4z",
    retention: EPHEMERAL,
  },
  {
    behaviour: "keeps a custom resource's port that is named by labels",
    pod: { labels: { app: "kv" }, owner: CLUSTER, annotations: { "mooring.dev/port-name-from": "app" } },
    name: "c1/shop/kv",
    nameFrom: "labels",
    retention: A_WEEK,
  },
  {
    behaviour: "uses the pod as the workload for a sticky pod of another controller",
    pod: {
      name: "job-x1",
      uid: "u-1",
      owner: { apiVersion: "batch/v1", kind: "Job", name: "job" },
      annotations: { "mooring.dev/retain": "sticky" },
    },
    name: "c1/shop/job-x1",
    retention: STICKY,
    workload: { kind: "Pod", namespace: "shop", name: "job-x1", uid: "u-1" },
  },
  {
    behaviour: "names a second interface's port after the interface too",
    pod: { owner: STATEFUL_SET },
    interface: "net1",
    name: "c1/shop/web-0/net1",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    behaviour: "adds a second interface to a reserved name",
    pod: { annotations: { "mooring.dev/port-name": "frontdoor" } },
    interface: "net1",
    name: "frontdoor/net1",
    nameFrom: "reserved",
    retention: STICKY,
  },
  {
    behaviour: "uses the namespace's retention for pods without one",
    pod: { owner: STATEFUL_SET },
    ns: { "mooring.dev/retain": "ephemeral" },
    name: "c1/shop/web-0",
    retention: EPHEMERAL,
    workload: WEB_SET,
  },
  {
    behaviour: "prefers the pod's retention to its namespace's",
    pod: { owner: STATEFUL_SET, annotations: { "mooring.dev/retain": "sticky" } },
    ns: { "mooring.dev/retain": "ephemeral" },
    name: "c1/shop/web-0",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    behaviour: "uses the configuration's retention last",
    pod: { name: "shell" },
    config: { policy: "sticky", ttlSeconds: 60 },
    name: "c1/shop/shell",
    retention: { policy: "sticky", ttlSeconds: 60 },
  },
  {
    behaviour: "prefers a namespace's retention to the configuration's",
    pod: { name: "shell" },
    ns: { "mooring.dev/retain": "ephemeral" },
    config: STICKY,
    name: "c1/shop/shell",
    retention: EPHEMERAL,
  },
];

describe("deriveClaim", () => {
  for (const row of ROWS) {
    it(row.behaviour, () => {
      const claim = claimOf(row.pod, {
        ...(row.ns && { ns: row.ns }),
        ...(row.interface && { interface: row.interface }),
        ...(row.config && { retention: row.config }),
      });
      assert.equal(claim.name, row.name);
      assert.equal(claim.nameFrom, row.nameFrom ?? "pod");
      assert.deepEqual(claim.retention, row.retention);
      assert.deepEqual(claim.slotOf, row.slotOf);
      assert.deepEqual(claim.workload, row.workload);
    });
  }
});
