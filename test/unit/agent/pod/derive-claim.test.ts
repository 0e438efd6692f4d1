import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deriveClaim } from "../../../../cni/agent/pod/derive-claim.ts";
import { readNamespace, readPod } from "../../../../cni/agent/pod/pod.ts";
import type { Claim, NameFrom, Retention, SlotOf, Workload } from "../../../../ipam-server/contract/index.ts";
import { namespaceObject, type PodShape, podObject, REPLICA_SET, STATEFUL_SET } from "./pods.ts";

const DEFAULTS = { cluster: "c1", networkSelector: "env=prod" };
const EPHEMERAL: Retention = { policy: "ephemeral" };
const STICKY: Retention = { policy: "sticky" };

function claimOf(
  shape: PodShape,
  options: { ns?: Record<string, string>; interface?: string; retention?: Retention } = {},
): Claim {
  const defaults = { ...DEFAULTS, ...(options.retention && { retention: options.retention }) };
  const place = { host: "node-a", interface: options.interface ?? "eth0" };
  return deriveClaim(readPod(podObject(shape)), readNamespace(namespaceObject(options.ns)), defaults, place);
}

interface Row {
  promise: string;
  pod: PodShape;
  ns?: Record<string, string>;
  interface?: string;
  config?: Retention;
  /** Absent: the IPAM picks it. */
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
const vmi = { apiVersion: "kubevirt.io/v1", kind: "VirtualMachineInstance", name: "db1" };

const ROWS: Row[] = [
  {
    promise: "a reserved name is taken as it is, and kept",
    pod: { annotations: { "mooring.dev/port-name": "frontdoor.vip" } },
    name: "frontdoor.vip",
    nameFrom: "reserved",
    retention: STICKY,
  },
  {
    promise: "a reserved name follows a StatefulSet's pod too",
    pod: { owner: STATEFUL_SET, annotations: { "mooring.dev/port-name": "frontdoor" } },
    name: "frontdoor",
    nameFrom: "reserved",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    promise: "labels make a name inside cluster and namespace",
    pod: { labels: { app: "kv", shard: "7" }, annotations: { "mooring.dev/port-name-from": "app, shard" } },
    name: "c1/shop/kv/7",
    nameFrom: "labels",
    retention: STICKY,
  },
  {
    promise: "a namespace may name all its pods by their labels",
    pod: { labels: { app: "kv" } },
    ns: { "mooring.dev/port-name-from": "app" },
    name: "c1/shop/kv",
    nameFrom: "labels",
    retention: STICKY,
  },
  {
    promise: "a pod's reserved name replaces its namespace's labels",
    pod: { labels: { app: "kv" }, annotations: { "mooring.dev/port-name": "x" } },
    ns: { "mooring.dev/port-name-from": "app" },
    name: "x",
    nameFrom: "reserved",
    retention: STICKY,
  },
  {
    promise: "a pod may let go at once of a name made from labels",
    pod: {
      labels: { app: "kv" },
      annotations: { "mooring.dev/port-name-from": "app", "mooring.dev/retain": "ephemeral" },
    },
    name: "c1/shop/kv",
    nameFrom: "labels",
    retention: EPHEMERAL,
  },
  {
    promise: "a StatefulSet's pod keeps its address under its own name",
    pod: { name: "web-0", owner: STATEFUL_SET },
    name: "c1/shop/web-0",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    promise: "the ordinal is what follows the set's name",
    pod: { name: "web-1-12", owner: { ...STATEFUL_SET, name: "web-1" } },
    name: "c1/shop/web-1-12",
    retention: STICKY,
    workload: { ...WEB_SET, name: "web-1", ordinal: 12 },
  },
  {
    promise: "a pod that a set adopted without an ordinal is any other pod",
    pod: { name: "web-blue", owner: STATEFUL_SET },
    name: "c1/shop/web-blue",
    retention: EPHEMERAL,
  },
  {
    promise: "a StatefulSet of another API group is any other controller",
    pod: { name: "web-0", owner: { ...STATEFUL_SET, apiVersion: "apps.kruise.io/v1beta1" } },
    name: "c1/shop/web-0",
    retention: EPHEMERAL,
  },
  {
    promise: "a StatefulSet's pod may be told to keep nothing",
    pod: { owner: STATEFUL_SET, annotations: { "mooring.dev/retain": "ephemeral" } },
    name: "c1/shop/web-0",
    retention: EPHEMERAL,
  },
  {
    promise: "a KubeVirt machine is named after the machine, not its launcher",
    pod: { name: "virt-launcher-db1-abcde", owner: vmi, labels: { "vm.kubevirt.io/name": "db1" } },
    name: "c1/shop/db1",
    retention: STICKY,
    workload: { kind: "VirtualMachine", namespace: "shop", name: "db1" },
  },
  {
    promise: "an older KubeVirt's launcher without an owner is known by its labels",
    pod: {
      name: "virt-launcher-db1-abcde",
      labels: { "kubevirt.io": "virt-launcher", "kubevirt.io/domain": "db1" },
    },
    name: "c1/shop/db1",
    retention: STICKY,
    workload: { kind: "VirtualMachine", namespace: "shop", name: "db1" },
  },
  {
    promise: "a label alone makes no machine of a pod",
    pod: { name: "sneaky", labels: { "kubevirt.io/domain": "db1" } },
    name: "c1/shop/sneaky",
    retention: EPHEMERAL,
  },
  {
    promise: "a Deployment's pod keeps nothing unless asked",
    pod: rollout(),
    name: "c1/shop/web-7d9c5b-x2x4z",
    retention: EPHEMERAL,
  },
  {
    promise: "a sticky Deployment's pod asks for one of the application's slots",
    pod: rollout({ "mooring.dev/retain": "sticky" }),
    retention: STICKY,
    slotOf: { application: "c1/shop/web" },
    workload: WEB_DEPLOYMENT,
  },
  {
    promise: "a Deployment's pod kept for a time has a slot too",
    pod: rollout({ "mooring.dev/retain": "24h" }),
    retention: { policy: "sticky", ttlSeconds: 86_400 },
    slotOf: { application: "c1/shop/web" },
    workload: WEB_DEPLOYMENT,
  },
  {
    promise: "a slot's further interface is told beside the application",
    pod: rollout({ "mooring.dev/retain": "sticky" }),
    interface: "net1",
    retention: STICKY,
    slotOf: { application: "c1/shop/web", interface: "net1" },
    workload: WEB_DEPLOYMENT,
  },
  {
    promise: "a ReplicaSet that stands alone is its own application",
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
    promise: "a bare pod is ephemeral",
    pod: { name: "shell" },
    name: "c1/shop/shell",
    retention: EPHEMERAL,
  },
  {
    promise: "a bare pod that asks is kept until a person ends it",
    pod: { name: "shell", annotations: { "mooring.dev/retain": "sticky" } },
    name: "c1/shop/shell",
    retention: STICKY,
  },
  {
    promise: "a kept pod of another controller speaks only for itself",
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
    promise: "a second interface has a port of its own",
    pod: { owner: STATEFUL_SET },
    interface: "net1",
    name: "c1/shop/web-0/net1",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    promise: "a second interface of a reserved name needs its own reservation",
    pod: { annotations: { "mooring.dev/port-name": "frontdoor" } },
    interface: "net1",
    name: "frontdoor/net1",
    nameFrom: "reserved",
    retention: STICKY,
  },
  {
    promise: "the namespace's retention serves pods that say nothing",
    pod: { owner: STATEFUL_SET },
    ns: { "mooring.dev/retain": "ephemeral" },
    name: "c1/shop/web-0",
    retention: EPHEMERAL,
  },
  {
    promise: "the pod's retention comes before its namespace's",
    pod: { owner: STATEFUL_SET, annotations: { "mooring.dev/retain": "sticky" } },
    ns: { "mooring.dev/retain": "ephemeral" },
    name: "c1/shop/web-0",
    retention: STICKY,
    workload: WEB_SET,
  },
  {
    promise: "the configuration's retention comes last",
    pod: { name: "shell" },
    config: { policy: "sticky", ttlSeconds: 60 },
    name: "c1/shop/shell",
    retention: { policy: "sticky", ttlSeconds: 60 },
  },
  {
    promise: "a namespace's retention comes before the configuration's",
    pod: { name: "shell" },
    ns: { "mooring.dev/retain": "ephemeral" },
    config: STICKY,
    name: "c1/shop/shell",
    retention: EPHEMERAL,
  },
];

describe("the port a pod asks for", () => {
  for (const row of ROWS) {
    it(row.promise, () => {
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

describe("the rest of the claim", () => {
  it("has the owner's UID and creation time in the contract's format", () => {
    assert.deepEqual(claimOf({ uid: "u-9" }).owner, { kind: "pod", uid: "u-9", createdAt: "2026-11-20T08:00:00.000Z" });
  });

  it("has an owner of kind vm for a virtual machine's launcher", () => {
    assert.equal(claimOf({ owner: vmi }).owner.kind, "vm");
  });

  it("has no sandbox in a pre-claim, and the caller's at ADD", () => {
    const pod = readPod(podObject());
    const namespace = readNamespace(namespaceObject());
    assert.equal("sandbox" in claimOf({}), false);
    const sandbox = { id: "4c1f", interface: "eth0" };
    const claim = deriveClaim(pod, namespace, DEFAULTS, { host: "node-a", interface: "eth0", sandbox });
    assert.deepEqual(claim.sandbox, sandbox);
  });

  it("differs between pre-claim and ADD only in the sandbox", () => {
    const pod = readPod(podObject({ owner: STATEFUL_SET, labels: { app: "web" } }));
    const namespace = readNamespace(namespaceObject({ "mooring.dev/families": "ipv4" }));
    const ahead = deriveClaim(pod, namespace, DEFAULTS, { host: "node-a", interface: "eth0" });
    const sandbox = { id: "4c1f", interface: "eth0" };
    const add = deriveClaim(pod, namespace, DEFAULTS, { host: "node-a", interface: "eth0", sandbox });
    assert.deepEqual({ ...ahead, sandbox }, add);
  });

  it("selects networks by pod, then namespace, then configuration", () => {
    const pod = { annotations: { "mooring.dev/network-selector": "env=pod" } };
    const ns = { "mooring.dev/network-selector": "env=ns" };
    assert.equal(claimOf(pod, { ns }).networkSelector, "env=pod");
    assert.equal(claimOf({}, { ns }).networkSelector, "env=ns");
    assert.equal(claimOf({}).networkSelector, "env=prod");
  });

  it("matches every network with an empty selector", () => {
    assert.equal(claimOf({ annotations: { "mooring.dev/network-selector": "" } }).networkSelector, "");
  });

  it("has the requested addresses, MAC, families and mismatch policy", () => {
    const claim = claimOf({
      annotations: {
        "mooring.dev/ip": "10.0.0.5, fd00::5",
        "mooring.dev/mac": "0A:58:0A:00:00:05",
        "mooring.dev/families": "ipv4,ipv6",
        "mooring.dev/on-mismatch": "reallocate",
      },
    });
    assert.deepEqual(claim.ips, ["10.0.0.5", "fd00::5"]);
    assert.equal(claim.mac, "0a:58:0a:00:00:05");
    assert.deepEqual(claim.families, ["ipv4", "ipv6"]);
    assert.equal(claim.onMismatch, "reallocate");
  });

  it("leaves a second interface's network to its configuration", () => {
    const annotations = {
      "mooring.dev/ip": "10.0.0.5",
      "mooring.dev/mac": "0a:58:0a:00:00:05",
      "mooring.dev/network-selector": "env=pod",
      "mooring.dev/families": "ipv6",
    };
    const claim = claimOf({ annotations }, { interface: "net1" });
    assert.equal(claim.networkSelector, "env=prod");
    for (const field of ["ips", "mac", "families"]) assert.equal(field in claim, false, field);
  });

  it("has the host's physical networks only where configured", () => {
    const place = { host: "node-a", interface: "eth0" };
    const known = { ...DEFAULTS, availabilityZone: "az1", physicalNetworks: ["physnet1"] };
    const pod = readPod(podObject());
    const namespace = readNamespace(namespaceObject());
    const claim = deriveClaim(pod, namespace, known, place);
    assert.equal(claim.availabilityZone, "az1");
    assert.deepEqual(claim.physicalNetworks, ["physnet1"]);
    assert.equal("availabilityZone" in claimOf({}), false);
  });

  it("has the pod's labels without controller-generated ones", () => {
    const claim = claimOf({ labels: { app: "web", "pod-template-hash": "x", "controller-revision-hash": "y" } });
    assert.deepEqual(claim.labels, { app: "web" });
  });

  it("names a mirror pod's owner by the kubelet's UID", () => {
    const annotations = { "kubernetes.io/config.mirror": "kubelet-uid", "kubernetes.io/config.hash": "kubelet-uid" };
    assert.equal(claimOf({ uid: "api-uid", annotations }).owner.uid, "kubelet-uid");
  });

  it("shortens a name over 253 characters deterministically and uniquely", () => {
    const long = (end: string) => claimOf({ name: `${"a".repeat(252)}${end}` }).name ?? "";
    assert.equal(long("x").length, 253);
    assert.equal(long("x"), long("x"));
    assert.notEqual(long("x"), long("y"));
    assert.match(long("x"), /^[A-Za-z0-9._:/@-]{1,253}$/);
  });

  it("leaves room for a slot in the longest application name", () => {
    const name = "d".repeat(253);
    const claim = claimOf({
      owner: { ...REPLICA_SET, name: `${name}-h1` },
      labels: { "pod-template-hash": "h1" },
      annotations: { "mooring.dev/retain": "sticky" },
    });
    const application = claim.slotOf?.application ?? "";
    assert.ok(`${application}/4294967295/${"i".repeat(15)}`.length <= 253);
  });
});
