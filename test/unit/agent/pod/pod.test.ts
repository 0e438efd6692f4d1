import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deriveClaim } from "../../../../cni/agent/pod/derive-claim.ts";
import { needsPort, readNamespace, readPod } from "../../../../cni/agent/pod/pod.ts";
import { IpamError } from "../../../../ipam-server/contract/index.ts";
import { namespaceObject, podObject } from "./pods.ts";

describe("a pod read from the API", () => {
  it("has its controller and no other owners", () => {
    const other = { apiVersion: "v1", kind: "Thing", name: "x", uid: "x" };
    const controller = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "u" };
    const pod = podObject({ metadata: { ownerReferences: [other, { ...controller, controller: true }] } });
    assert.deepEqual(readPod(pod).controller, controller);
    assert.equal(readPod(podObject({ metadata: { ownerReferences: [other] } })).controller, undefined);
  });

  it("may have a Date as creation time", () => {
    const pod = podObject({ metadata: { creationTimestamp: new Date("2026-11-20T08:00:00Z") } });
    assert.equal(readPod(pod).createdAt, "2026-11-20T08:00:00.000Z");
  });

  const malformed: [string, unknown, RegExp][] = [
    ["nothing", undefined, /whose pod is not an object/],
    ["a list", [], /whose pod is not an object/],
    ["no metadata", {}, /pod\.metadata is not an object/],
    ["no UID", podObject({ metadata: { uid: undefined } }), /pod\.metadata\.uid/],
    ["no namespace", podObject({ metadata: { namespace: "" } }), /pod\.metadata\.namespace/],
    [
      "a creationTimestamp that is no time",
      podObject({ metadata: { creationTimestamp: "soon" } }),
      /creationTimestamp is not a time/,
    ],
    ["a label that is a number", podObject({ metadata: { labels: { a: 1 } } }), /pod\.metadata\.labels\[a\]/],
    ["owners that are no list", podObject({ metadata: { ownerReferences: {} } }), /ownerReferences is not a list/],
    ["a spec that is text", { ...podObject(), spec: "x" }, /pod\.spec is not an object/],
  ];
  for (const [what, value, message] of malformed) {
    it(`with ${what} is rejected with the field's name`, () => {
      assert.throws(
        () => readPod(value),
        error => error instanceof IpamError && message.test(error.message),
      );
    });
  }

  it("is rejected when it is a namespace without metadata", () => {
    assert.throws(() => readNamespace({ metadata: {} }), /namespace\.metadata\.name/);
  });
});

describe("a port is pre-claimed", () => {
  const rows: [string, boolean, Record<string, unknown>][] = [
    ["for a pod scheduled here", true, podObject()],
    ["for a running pod", true, podObject({ status: { phase: "Running" } })],
    ["not for another node's pod", false, podObject({ spec: { nodeName: "node-b" } })],
    ["not for a pod without a node", false, podObject({ spec: { nodeName: "" } })],
    ["not for a pod on the host's network", false, podObject({ spec: { hostNetwork: true } })],
    ["not for a pod being deleted", false, podObject({ metadata: { deletionTimestamp: "2026-11-20T09:00:00Z" } })],
    ["not for a pod that succeeded", false, podObject({ status: { phase: "Succeeded" } })],
    ["not for a pod that failed", false, podObject({ status: { phase: "Failed" } })],
  ];
  for (const [behaviour, expected, object] of rows) {
    it(behaviour, () => assert.equal(needsPort(readPod(object), "node-a"), expected));
  }
});

describe("a label that names a port", () => {
  const claim = (labels: Record<string, string>) =>
    deriveClaim(
      readPod(podObject({ labels, annotations: { "mooring.dev/port-name-from": "app,shard" } })),
      readNamespace(namespaceObject()),
      { cluster: "c1", networkSelector: "" },
      { host: "node-a", interface: "eth0" },
    );
  it("is named in the error when missing", () => {
    assert.throws(
      () => claim({ app: "kv" }),
      /port-name-from names the label shard, but pod shop\/web-0 has no label shard/,
    );
  });
  it("is named in the error when empty", () => {
    assert.throws(() => claim({ app: "kv", shard: "" }), /has an empty label shard/);
  });
  it("is never inherited from Object.prototype", () => {
    const pod = readPod(podObject({ annotations: { "mooring.dev/port-name-from": "constructor" } }));
    const place = { host: "node-a", interface: "eth0" };
    assert.throws(
      () => deriveClaim(pod, readNamespace(namespaceObject()), { cluster: "c1", networkSelector: "" }, place),
      /has no label constructor/,
    );
  });
});
