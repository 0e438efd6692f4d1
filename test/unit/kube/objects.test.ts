import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as objects from "../../../ipam-server/kube/objects.ts";

const metadata = { namespace: "shop", name: "web", uid: "u" };
const set = (spec: unknown) => objects.readStatefulSet({ metadata, spec });
const deployment = (spec: unknown) => objects.readDeployment({ metadata, spec });

describe("parsing a workload's replicas and ordinals", () => {
  const sets: [string, unknown, number, number][] = [
    ["replicas from 0", { replicas: 3 }, 0, 3],
    ["one replica by default", {}, 0, 1],
    ["none", { replicas: 0 }, 0, 0],
    ["ordinals from a start", { replicas: 3, ordinals: { start: 5 } }, 5, 8],
    ["ordinals without a start", { replicas: 3, ordinals: {} }, 0, 3],
  ];
  for (const [what, spec, from, to] of sets) {
    it(`parses a StatefulSet with ${what}`, () => assert.deepEqual(set(spec), { ...metadata, from, to }));
  }

  const rolling = (maxSurge?: unknown) => ({
    replicas: 3,
    strategy: { type: "RollingUpdate", ...(maxSurge !== undefined && { rollingUpdate: { maxSurge } }) },
  });
  const deployments: [string, unknown, number][] = [
    ["its surge by number", rolling(2), 5],
    ["its surge by percent, rounded up as Kubernetes does", rolling("34%"), 5],
    ["no surge", rolling(0), 3],
    ["Kubernetes' default surge", rolling(), 4],
    ["no surge when it recreates", { replicas: 3, strategy: { type: "Recreate" } }, 3],
    ["none when scaled to zero", { replicas: 0, strategy: rolling("25%").strategy }, 0],
  ];
  for (const [what, spec, to] of deployments) {
    it(`parses a Deployment with ${what}`, () => assert.equal(deployment(spec).to, to));
  }

  it("parses a ReplicaSet's replicas", () => {
    assert.equal(objects.readReplicaSet({ metadata, spec: { replicas: 2 } }).to, 2);
  });
});

describe("parsing an invalid object", () => {
  const bad: [string, () => unknown][] = [
    ["a set without a spec", () => objects.readStatefulSet({ metadata })],
    ["a set without a UID", () => objects.readStatefulSet({ metadata: { ...metadata, uid: "" }, spec: {} })],
    ["replicas below none", () => set({ replicas: -1 })],
    ["replicas as text", () => set({ replicas: "3" })],
    ["a start that is no number", () => set({ ordinals: { start: "5" } })],
    ["a surge that is no number", () => deployment({ strategy: { rollingUpdate: { maxSurge: "many" } } })],
    ["a pod without a name", () => objects.readPodView({ metadata: { ...metadata, name: undefined } })],
    ["a list without items", () => objects.readListPage({ metadata: { resourceVersion: "1" } }, "/x")],
    ["a list without a version", () => objects.readListPage({ metadata: {}, items: [] }, "/x")],
    ["a list that is text", () => objects.readListPage("", "/x")],
    [
      "an event of no kind",
      () => objects.readWatchEvent({ type: "NEW", object: { metadata: { resourceVersion: "1" } } }, "/x"),
    ],
    ["an event without an object", () => objects.readWatchEvent({ type: "ADDED" }, "/x")],
  ];
  for (const [what, read] of bad) it(what, () => assert.throws(read));

  it("throws the code of an error event of a watch", () => {
    const gone = { type: "ERROR", object: { kind: "Status", code: 410, message: "too old resource version" } };
    assert.throws(() => objects.readWatchEvent(gone, "/x"), { status: 410, message: /too old/ });
  });

  it("parses a null list as an empty one", () => {
    assert.deepEqual(objects.readListPage({ metadata: { resourceVersion: "1" }, items: null }, "/x").items, []);
  });
});
