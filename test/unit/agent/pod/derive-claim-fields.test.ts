import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deriveClaim } from "../../../../cni/agent/pod/derive-claim.ts";
import { readNamespace, readPod } from "../../../../cni/agent/pod/pod.ts";
import { claimOf, DEFAULTS } from "./claim-of.ts";
import { namespaceObject, podObject, REPLICA_SET, STATEFUL_SET, VIRTUAL_MACHINE } from "./pods.ts";

describe("the fields of a derived claim", () => {
  it("has the owner's UID and creation time in the contract's format", () => {
    assert.deepEqual(claimOf({ uid: "u-9" }).owner, { kind: "pod", uid: "u-9", createdAt: "2026-11-20T08:00:00.000Z" });
  });

  it("has an owner of kind vm for a virtual machine's launcher", () => {
    assert.equal(claimOf({ owner: VIRTUAL_MACHINE }).owner.kind, "vm");
  });

  it("names the migration of a KubeVirt target, which only its owner reference proves", () => {
    const labels = { "kubevirt.io/migrationJobUID": "job-1" };
    assert.deepEqual(claimOf({ owner: VIRTUAL_MACHINE, labels }).migration, { id: "job-1" });
    const foreign = { ...VIRTUAL_MACHINE, apiVersion: "example.com/v1" };
    const others = [
      { labels },
      { owner: STATEFUL_SET, labels },
      { owner: foreign, labels },
      { owner: VIRTUAL_MACHINE },
    ];
    for (const pod of others) assert.equal(claimOf(pod).migration, undefined);
    assert.equal(claimOf({ owner: { ...VIRTUAL_MACHINE, controller: false }, labels }).migration, undefined);
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
    const preclaim = deriveClaim(pod, namespace, DEFAULTS, { host: "node-a", interface: "eth0" });
    const sandbox = { id: "4c1f", interface: "eth0" };
    const add = deriveClaim(pod, namespace, DEFAULTS, { host: "node-a", interface: "eth0", sandbox });
    assert.deepEqual({ ...preclaim, sandbox }, add);
  });

  it("has the times without its workload, unless ephemeral or with a time of its own", () => {
    const ns = { "mooring.dev/retain-when-scaled": "Delete", "mooring.dev/retain-when-deleted": "Retain" };
    const retention = (annotations: Record<string, string>, owner = STATEFUL_SET) =>
      claimOf({ owner, annotations }, { ns }).retention;
    const deleted = { "mooring.dev/retain-when-deleted": "36h" };
    assert.deepEqual(retention(deleted), { policy: "sticky", whenDeleted: 129_600, whenScaled: "Delete" });
    assert.deepEqual(retention({}), { policy: "sticky", whenDeleted: "Retain", whenScaled: "Delete" });
    assert.deepEqual(retention({ "mooring.dev/retain": "24h" }), { policy: "sticky", ttlSeconds: 86_400 });
    assert.deepEqual(retention({}, REPLICA_SET), { policy: "ephemeral" });
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
    const configured = { ...DEFAULTS, availabilityZone: "az1", physicalNetworks: ["physnet1"] };
    const pod = readPod(podObject());
    const namespace = readNamespace(namespaceObject());
    const claim = deriveClaim(pod, namespace, configured, place);
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
