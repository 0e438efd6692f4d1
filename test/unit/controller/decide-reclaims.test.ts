import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Port, Workload } from "../../../ipam-server/contract/index.ts";
import { classifyPort, decideReclaims } from "../../../ipam-server/controller/decide-reclaims.ts";
import { indexNodes, indexPods, type KubeView } from "../../../ipam-server/controller/kube-view.ts";
import type { WorkloadView } from "../../../ipam-server/kube/objects.ts";
import { boundPort, POD_UID, stickyPort } from "./ports.ts";

const OTHER_UID = "8e5c0000-0000-4000-8000-00000000dead";
const SET: Workload = { kind: "StatefulSet", namespace: "shop", name: "web", uid: "set-uid", ordinal: 2 };

interface Shape {
  nodes?: { name: string; isOutOfService?: boolean }[];
  pods?: { name: string; uid: string }[] | undefined;
  workloads?: KubeView["workloads"];
}
const AT = Date.parse("2026-11-20T12:00:00.000Z");
/** By default the node of the binding is gone. */
function view({ pods = [], workloads = {}, nodes = [{ name: "node-b" }] }: Shape = {}): KubeView {
  return {
    pods: indexPods(pods.map(pod => ({ namespace: "shop", ...pod }))),
    nodes: indexNodes(
      nodes.map(node => ({ isOutOfService: false, ...node })),
      AT,
    ),
    workloads,
  };
}
function one(kind: Exclude<Workload["kind"], "Pod">, item: Partial<WorkloadView> = {}): KubeView["workloads"] {
  const complete = { namespace: "shop", name: "web", uid: "set-uid", from: 0, to: 3, ...item };
  return { [kind]: new Map([[`${complete.namespace}/${complete.name}`, complete]]) };
}
const none = (kind: Workload["kind"]): KubeView["workloads"] => ({ [kind]: new Map() });
const actionOf = (port: Port, seen: KubeView) => classifyPort(port, seen, "c1")?.action;

describe("a binding", () => {
  const bound = boundPort();
  it("is kept while its pod is there", () => {
    assert.equal(actionOf(bound, view({ pods: [{ name: "web-2", uid: POD_UID }] })), undefined);
  });
  it("is released when no pod has its UID and its node is gone", () => {
    assert.equal(actionOf(bound, view()), "release");
  });
  it("is released when no pod has its UID and its node is out of service", () => {
    const nodes = [{ name: "node-a", isOutOfService: true }, { name: "node-b" }];
    assert.equal(actionOf(bound, view({ nodes })), "release");
  });
  it("is kept while its node may run, because only its agent sees the sandbox", () => {
    assert.equal(actionOf(bound, view({ nodes: [{ name: "node-a" }, { name: "node-b" }] })), undefined);
  });
  it("is kept while nodes were not read or none is listed", () => {
    const { nodes: _, ...unread } = view();
    assert.equal(actionOf(bound, unread), undefined);
    assert.equal(actionOf(bound, view({ nodes: [] })), undefined);
  });
  it("is released when only another pod of its name is there", () => {
    assert.equal(actionOf(bound, view({ pods: [{ name: "web-2", uid: OTHER_UID }] })), "release");
  });
  it("of a migration's target is released when its pod and node are gone", () => {
    const inactiveBinding = { host: "node-c", ownerUid: OTHER_UID, boundAt: "", epoch: 2, migration: { id: "m1" } };
    const source = { name: "web-2", uid: POD_UID };
    const nodes = [{ name: "node-a" }];
    const migrating = { ...bound, inactiveBinding };
    const decision = classifyPort(migrating, view({ pods: [source], nodes }), "c1");
    assert.deepEqual(decision?.action === "release" && decision.binding, inactiveBinding);
    assert.equal(actionOf(migrating, view({ pods: [source], nodes: [...nodes, { name: "node-c" }] })), undefined);
    assert.equal(actionOf(migrating, view({ pods: [source, { name: "t", uid: OTHER_UID }], nodes })), undefined);
    const { binding: _, ...sourceGone } = migrating;
    assert.equal(actionOf(sourceGone, view({ pods: [{ name: "t", uid: OTHER_UID }], nodes })), undefined);
  });
  it("is released from an ephemeral port too", () => {
    assert.equal(actionOf({ ...bound, retention: { policy: "ephemeral" } }, view()), "release");
  });
  it("is released from a reserved port too", () => {
    assert.equal(actionOf({ ...bound, reservation: { allowedNamespaces: ["*"] } }, view()), "release");
  });
  it("is kept while pods were not read", () => {
    assert.equal(actionOf(bound, { workloads: none("StatefulSet") }), undefined);
  });
  it("never leads to deletion, also without its workload", () => {
    const pods = [{ name: "web-2", uid: POD_UID }];
    assert.equal(actionOf(bound, view({ pods, workloads: none("StatefulSet") })), undefined);
  });
  const notOurs: [string, Partial<Port>][] = [
    ["of another cluster", { cluster: "c2" }],
    ["of no cluster", {}],
    ["of a device", { owner: { kind: "device", uid: POD_UID, createdAt: "2026-11-20T08:00:00.000Z" } }],
  ];
  for (const [what, change] of notOurs) {
    it(`${what} is kept`, () => {
      const { cluster: _, ...rest } = bound;
      assert.equal(actionOf({ ...(what === "of no cluster" ? rest : bound), ...change }, view()), undefined);
    });
  }
  for (const uid of ["4c1f9e", "a".repeat(64), "c9f0f895fb98ab9159f51fd0297e236d"]) {
    it(`of an owner that is no pod of the API (${uid.slice(0, 8)}…) is kept`, () => {
      const binding = { host: "node-a", ownerUid: uid, boundAt: "2026-11-20T08:00:00.000Z" };
      assert.equal(actionOf({ ...bound, binding }, view()), undefined);
    });
  }
});

describe("a lease", () => {
  const lease = (expiresAt: string): Port => ({
    ...boundPort(),
    name: "lease:node-a/1",
    owner: { kind: "lease", uid: OTHER_UID, createdAt: "2026-11-20T08:00:00.000Z" },
    binding: { host: "node-a", ownerUid: OTHER_UID, boundAt: "2026-11-20T08:00:00.000Z" },
    expiresAt,
  });
  const over = lease("2026-11-20T11:00:00.000Z");
  const nodes = (...names: string[]): KubeView => view({ nodes: names.map(name => ({ name })) });
  it("is released after it expired and its node is gone", () => {
    assert.equal(actionOf(over, nodes("node-b")), "release");
  });
  it("is released after it expired and its node is out of service", () => {
    assert.equal(actionOf(over, view({ nodes: [{ name: "node-a", isOutOfService: true }] })), "release");
  });
  it("is kept while its node is there, though no pod has its owner's UID", () => {
    assert.equal(actionOf(over, nodes("node-a", "node-b")), undefined);
  });
  it("is kept until it expires", () => {
    assert.equal(actionOf(lease("2026-11-20T12:00:01.000Z"), nodes("node-b")), undefined);
  });
  it("is kept while nodes were not read or none is listed", () => {
    const { nodes: _, ...unread } = view();
    assert.equal(actionOf(over, unread), undefined);
    assert.equal(actionOf(over, nodes()), undefined);
  });
  it("is kept if of another cluster or without an expiry", () => {
    assert.equal(actionOf({ ...over, cluster: "c2" }, nodes("node-b")), undefined);
    const { expiresAt: _, ...endless } = over;
    assert.equal(actionOf(endless, nodes("node-b")), undefined);
  });
});

interface Row {
  behaviour: string;
  workload: Workload;
  seen: Shape;
  slot?: number;
  action?: "retire";
}
const deployment: Workload = { kind: "Deployment", namespace: "shop", name: "web" };
const replicaSet: Workload = { kind: "ReplicaSet", namespace: "shop", name: "web", uid: "set-uid" };
const machine: Workload = { kind: "VirtualMachine", namespace: "shop", name: "web" };
const lonePod: Workload = { kind: "Pod", namespace: "shop", name: "job-x1", uid: POD_UID };

const ROWS: Row[] = [
  { behaviour: "is kept while its StatefulSet needs it", workload: SET, seen: { workloads: one("StatefulSet") } },
  {
    behaviour: "is retired when its StatefulSet is gone",
    workload: SET,
    seen: { workloads: none("StatefulSet") },
    action: "retire",
  },
  {
    behaviour: "is retired when only another namespace has a StatefulSet of that name",
    workload: SET,
    seen: { workloads: one("StatefulSet", { namespace: "other" }) },
    action: "retire",
  },
  {
    behaviour: "is kept when its StatefulSet was recreated, because the name decides",
    workload: SET,
    seen: { workloads: one("StatefulSet", { uid: "new" }) },
  },
  {
    behaviour: "is kept when the recreated set has a pod to claim it",
    workload: SET,
    seen: { workloads: one("StatefulSet", { uid: "new" }), pods: [{ name: "web-2", uid: OTHER_UID }] },
  },
  {
    behaviour: "is retired when the set is scaled below its ordinal",
    workload: SET,
    seen: { workloads: one("StatefulSet", { to: 2 }) },
    action: "retire",
  },
  {
    behaviour: "is kept while the scaled-down pod still terminates",
    workload: SET,
    seen: { workloads: one("StatefulSet", { to: 2 }), pods: [{ name: "web-2", uid: POD_UID }] },
  },
  {
    behaviour: "is retired when the set is scaled to zero",
    workload: SET,
    seen: { workloads: one("StatefulSet", { to: 0 }) },
    action: "retire",
  },
  {
    behaviour: "is kept when the set's ordinals start above 0 and reach it",
    workload: SET,
    seen: { workloads: one("StatefulSet", { from: 2, to: 3 }) },
  },
  {
    behaviour: "is retired when the set's ordinals start above it",
    workload: SET,
    seen: { workloads: one("StatefulSet", { from: 3, to: 6 }) },
    action: "retire",
  },
  { behaviour: "is kept while StatefulSets were not read", workload: SET, seen: { workloads: none("Deployment") } },
  {
    behaviour: "without an ordinal follows the set alone",
    workload: { kind: "StatefulSet", namespace: "shop", name: "web", uid: "set-uid" },
    seen: { workloads: one("StatefulSet", { to: 0 }) },
  },
  {
    behaviour: "in a slot is kept while its Deployment needs it",
    workload: deployment,
    slot: 2,
    seen: { workloads: one("Deployment") },
  },
  {
    behaviour: "in a slot is retired above the Deployment's replicas",
    workload: deployment,
    slot: 3,
    seen: { workloads: one("Deployment") },
    action: "retire",
  },
  {
    behaviour: "in a slot is retired when its Deployment is gone",
    workload: deployment,
    slot: 0,
    seen: { workloads: none("Deployment") },
    action: "retire",
  },
  {
    behaviour: "in a slot is kept when its Deployment is recreated under the same name",
    workload: deployment,
    slot: 0,
    seen: { workloads: one("Deployment", { uid: "new" }) },
  },
  {
    behaviour: "in an unknown slot follows the Deployment alone",
    workload: deployment,
    seen: { workloads: one("Deployment", { to: 0 }) },
  },
  { behaviour: "in a slot is kept while Deployments were not read", workload: deployment, slot: 9, seen: {} },
  {
    behaviour: "of a lone ReplicaSet is retired above its replicas",
    workload: replicaSet,
    slot: 3,
    seen: { workloads: one("ReplicaSet") },
    action: "retire",
  },
  {
    behaviour: "of a lone ReplicaSet is kept when that was recreated",
    workload: replicaSet,
    slot: 0,
    seen: { workloads: one("ReplicaSet", { uid: "new" }) },
  },
  {
    behaviour: "of a machine is kept while the machine is there, running or not",
    workload: machine,
    seen: { workloads: one("VirtualMachine") },
  },
  {
    behaviour: "of a machine is retired when the machine is gone",
    workload: machine,
    seen: { workloads: none("VirtualMachine") },
    action: "retire",
  },
  { behaviour: "of a machine is kept where KubeVirt is not installed", workload: machine, seen: {} },
  { behaviour: "of a lone pod is retired when the pod is gone", workload: lonePod, seen: {}, action: "retire" },
  {
    behaviour: "of a lone pod is kept while a pod of its name is there",
    workload: lonePod,
    seen: { pods: [{ name: "job-x1", uid: OTHER_UID }] },
  },
];

describe("an unbound sticky port", () => {
  for (const { behaviour, workload, slot, seen, action } of ROWS) {
    it(behaviour, () => {
      const port = { ...stickyPort(), workload, ...(slot !== undefined && { slot }) };
      assert.equal(actionOf(port, view(seen)), action);
    });
  }

  const gone = view({ workloads: none("StatefulSet") });
  it("with a TTL is left to the server", () => {
    assert.equal(actionOf({ ...stickyPort(), retention: { policy: "sticky", ttlSeconds: 60 } }, gone), undefined);
  });
  it("that is protected is left to the operator", () => {
    assert.equal(actionOf({ ...stickyPort(), protected: true }, gone), undefined);
  });
  it("that is reserved is left to the operator", () => {
    assert.equal(actionOf({ ...stickyPort(), reservation: { allowedNamespaces: ["*"] } }, gone), undefined);
  });
  it("without a workload is left to the operator", () => {
    const { workload: _, ...port } = stickyPort();
    assert.equal(actionOf(port, gone), undefined);
  });
  it("of another cluster is kept", () => {
    assert.equal(actionOf({ ...stickyPort(), cluster: "c2" }, gone), undefined);
  });
  it("is kept while pods were not read", () => {
    assert.equal(actionOf(stickyPort(), { workloads: none("StatefulSet") }), undefined);
  });
});

describe("a retired port", () => {
  const retired = (unneeded: "deleted" | "scaled") => ({
    ...stickyPort(),
    unneeded,
    expiresAt: "2026-11-27T08:00:00.000Z",
  });
  const needOf = (port: Port, seen: KubeView) => {
    const decision = classifyPort(port, seen, "c1");
    return decision && "need" in decision ? decision.need : undefined;
  };
  it("is left alone while the reason is the same", () => {
    assert.equal(needOf(retired("deleted"), view({ workloads: none("StatefulSet") })), undefined);
    assert.equal(needOf(retired("scaled"), view({ workloads: one("StatefulSet", { to: 0 }) })), undefined);
  });
  it("is reported again when the reason changes", () => {
    assert.equal(needOf(retired("scaled"), view({ workloads: none("StatefulSet") })), "deleted");
    assert.equal(needOf(retired("deleted"), view({ workloads: one("StatefulSet", { to: 0 }) })), "scaled");
  });
  it("is restored when its workload needs it again, or a pod of its name is there", () => {
    assert.equal(needOf(retired("deleted"), view({ workloads: one("StatefulSet", { uid: "new" }) })), "needed");
    const pods = [{ name: "web-2", uid: OTHER_UID }];
    assert.equal(needOf(retired("deleted"), view({ pods, workloads: none("StatefulSet") })), "needed");
  });
  it("is left alone while its workload's kind was not read", () => {
    assert.equal(needOf(retired("deleted"), view()), undefined);
  });
});

describe("nothing is due", () => {
  const gone = view({ workloads: none("StatefulSet") });
  const pass = (previous: ReadonlyMap<string, number>, now: number, seen = gone, ports = [stickyPort()]) =>
    decideReclaims(ports, seen, "c1", previous, now, 30_000);

  it("before a complete grace period", () => {
    const first = pass(new Map(), 1_000);
    assert.equal(first.due.length, 0);
    assert.equal(pass(first.suspects, 30_999).due.length, 0);
    assert.equal(pass(first.suspects, 31_000).due.length, 1);
  });
  it("if it was used in between", () => {
    const first = pass(new Map(), 0);
    const well = pass(first.suspects, 15_000, view({ workloads: one("StatefulSet") }));
    assert.equal(pass(well.suspects, 31_000).due.length, 0);
  });
  it("if Kubernetes was not read in between", () => {
    const first = pass(new Map(), 0);
    const unknown = pass(first.suspects, 15_000, { workloads: {} });
    assert.equal(pass(unknown.suspects, 31_000).due.length, 0);
  });
  it("when the port was bound and released in between", () => {
    const first = pass(new Map(), 0);
    assert.equal(pass(first.suspects, 31_000, gone, [{ ...stickyPort(), epoch: 9 }]).due.length, 0);
  });
  it("when another port has taken the name", () => {
    const first = pass(new Map(), 0);
    assert.equal(pass(first.suspects, 31_000, gone, [{ ...stickyPort(), id: "another" }]).due.length, 0);
  });
  it("for the port when only its binding looked abandoned", () => {
    const bound = pass(new Map(), 0, view(), [boundPort()]);
    assert.equal(pass(bound.suspects, 31_000, gone, [{ ...stickyPort(), id: boundPort().id }]).due.length, 0);
  });
});
