import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type DestructiveAction,
  decideSweep,
  type SweepAction,
  type SweepView,
  selectDue,
} from "../../../../cni/agent/upkeep/decide-sweep.ts";
import { bindingKey } from "../../../../cni/agent/upkeep/local-port.ts";
import { boundAhead, local, port, SELF, unbound } from "./local.ts";

const NAME = "c1/default/web-0";
const POD = new Map([["u1", { finished: false }]]);
const NO_POD = new Map<string, { finished: boolean }>();
const FINISHED = new Map([["u1", { finished: true }]]);

function view(changes: Partial<SweepView>): SweepView {
  return {
    self: SELF,
    local: [local()],
    bindings: [port()],
    others: new Map(),
    pods: POD,
    ended: new Set(),
    isLeaseInUse: () => false,
    ...changes,
  };
}

/** An action as a table says it. */
function say(action: SweepAction): string {
  if (action.kind === "unplug") return action.release ? "unplug+release" : "unplug";
  if (action.kind === "claim" && action.leasedPort === LEASE) return "claim leased";
  return action.kind === "fence" ? `fence ${action.reason}` : action.kind;
}

const forgotten = local();
delete forgotten.ovs;
const FORGOTTEN = { ...forgotten, sandbox: "unknown" as const };
const REMEMBERED = { ...FORGOTTEN, lastKnown: { ...local().ovs, addresses: [], mac: "0a:58:0a:64:01:01" } };
const ELSEWHERE = port({ epoch: 4 }, { host: "node-b", ownerUid: "u2", sandbox: { id: "s9", interface: "eth0" } });
const others = (found: ReturnType<typeof unbound> | undefined) => ({ bindings: [], others: new Map([[NAME, found]]) });
const withoutPods = (changes: Partial<SweepView>) => {
  const { pods: _pods, ...rest } = view(changes);
  return rest;
};
const withoutBindings = (changes: Partial<SweepView>) => {
  const { bindings: _bindings, ...rest } = view(changes);
  return rest;
};
const LEASE = "lease:node-a/1";
/** The local port's own, as the IPAM has it before it hears of the pod. */
const leased = (lease: "in use" | "unknown", changes: Partial<SweepView> = {}) => {
  const owner = { kind: "lease", uid: "l1", createdAt: "2026-11-20T08:00:00.000Z" } as const;
  const bindings = [boundAhead({ name: LEASE, owner }, { ownerUid: "l1" })];
  const isLeaseInUse = (name: string) => lease === "in use" && name === LEASE;
  return view({ ...others(undefined), bindings, isLeaseInUse, ...changes });
};
const DEAD = local({ sandbox: "gone" });
const LINKLESS = local({ sandbox: "gone", hasLink: false });
const MOUNT_UNSEEN = local({ sandbox: "unknown" });

describe("what a sweep does", () => {
  const cases: [string, SweepView, string[]][] = [
    ["all is right", view({}), []],
    ["all is right, and the folder of namespaces cannot be seen", view({ local: [MOUNT_UNSEEN] }), []],
    ["a pod that Kubernetes no longer knows still runs with its own binding", view({ pods: NO_POD }), []],

    ["OVS has forgotten a live port", view({ local: [FORGOTTEN] }), ["replug"]],
    ["OVS has forgotten it and Kubernetes is away", withoutPods({ local: [FORGOTTEN] }), ["replug"]],
    ["OVS has forgotten it and the IPAM is away", withoutBindings({ local: [FORGOTTEN] }), []],
    ["the same, and this agent saw it before", withoutBindings({ local: [REMEMBERED] }), ["restore"]],
    ["OVS has forgotten it and the IPAM knows no such sandbox", view({ local: [FORGOTTEN], bindings: [] }), []],
    ["OVS knows an older epoch of its own binding", view({ local: [local({}, { epoch: 2 })] }), ["replug"]],
    ["OVS knows another life of its own binding", view({ local: [local({}, { portId: "P0" })] }), ["replug"]],
    ["the IPAM has not heard that it is up", view({ bindings: [port({ underlay: "BUILD" })] }), ["report"]],
    [
      "the IPAM has not heard, but OVS has no ofport yet",
      view({ local: [local({}, { ofport: undefined as never })], bindings: [port({ underlay: "BUILD" })] }),
      [],
    ],
    ["its VLAN was changed in OVS", view({ local: [local({}, { wrongVlan: "tag=7" })] }), ["restoreVlan"]],
    [
      "its VLAN was changed while IPAM and Kubernetes are away",
      view({ local: [local({}, { wrongVlan: "tag=7" })], bindings: undefined as never, pods: undefined as never }),
      ["restoreVlan"],
    ],
    [
      "it was plugged before VLANs were recorded",
      view({ local: [local({}, { recordedVlan: undefined as never })] }),
      ["replug"],
    ],
    ["a person or a driver said ERROR", view({ bindings: [port({ underlay: "ERROR" })] }), []],

    ["bound elsewhere", view(others(ELSEWHERE)), ["fence moved"]],
    ["bound elsewhere, pod gone", view({ ...others(ELSEWHERE), pods: NO_POD }), ["fence moved"]],
    ["bound elsewhere, Kubernetes away", withoutPods(others(ELSEWHERE)), ["fence moved"]],
    ["bound elsewhere at an older epoch: an old backup", view(others({ ...ELSEWHERE, epoch: 2 })), []],
    [
      "another life of the port is bound elsewhere",
      view(others({ ...ELSEWHERE, id: "P2", epoch: 1 })),
      ["fence moved"],
    ],
    [
      "bound on a host of this name in another cluster",
      view(others(port({ cluster: "c2", epoch: 4 }, { ownerUid: "u2", sandbox: { id: "s9", interface: "eth0" } }))),
      ["fence moved"],
    ],
    [
      "bound here to a newer sandbox of its pod",
      view({ bindings: [port({ epoch: 4 }, { sandbox: { id: "s2", interface: "eth0" } })] }),
      ["fence moved"],
    ],
    [
      "bound here to a newer pod, ahead",
      view({ bindings: [boundAhead({ epoch: 4 }, { ownerUid: "u2" })], pods: new Map([["u2", { finished: false }]]) }),
      ["fence moved"],
    ],
    ["bound here for its pod, the sandbox not known", view({ bindings: [boundAhead()] }), ["claim"]],
    ["the same, the pod unknown", withoutPods({ bindings: [boundAhead()] }), []],

    ["the binding is lost", view(others(undefined)), ["claim"]],
    ["the binding is lost, the port there", view(others(unbound())), ["claim"]],
    ["the binding is lost, Kubernetes away", withoutPods(others(undefined)), []],
    ["the binding is lost, the IPAM's answer about the port failed", view({ bindings: [] }), []],
    ["the IPAM has yet to hear that a lease is its own", leased("in use"), []],
    ["the same, its pod gone", leased("in use", { pods: NO_POD }), []],
    ["nobody is about to tell the IPAM that a lease is its own", leased("unknown"), ["claim leased"]],
    ["the same, its pod gone", leased("unknown", { pods: NO_POD }), ["unplug"]],
    ["a lease waits for a pod", leased("in use", { local: [] }), []],
    ["a lease waits for nobody here", leased("unknown", { local: [] }), ["release"]],

    ["no binding and no pod", view({ ...others(undefined), pods: NO_POD }), ["unplug"]],
    [
      "no binding and no pod, and an event said so",
      view({ ...others(undefined), pods: NO_POD, ended: new Set([bindingKey(local())]) }),
      ["fence released"],
    ],
    [
      "an event said so of an earlier life",
      view({ ...others(undefined), pods: NO_POD, ended: new Set([bindingKey(local({}, { epoch: 2 }))]) }),
      ["unplug"],
    ],
    [
      "an event said so, but the pod is there",
      view({ ...others(undefined), ended: new Set([bindingKey(local())]) }),
      ["claim"],
    ],
    [
      "no binding, and OVS does not say whose it is",
      view({ ...others(undefined), local: [local({}, { ownerUid: undefined as never })] }),
      [],
    ],

    ["namespace gone, pod there", view({ local: [DEAD] }), []],
    ["namespace gone, pod gone", view({ local: [DEAD], pods: NO_POD }), ["unplug+release"]],
    ["namespace gone, pod gone, IPAM away", withoutBindings({ local: [DEAD], pods: NO_POD }), ["unplug+release"]],
    ["namespace gone, Kubernetes away", withoutPods({ local: [DEAD] }), []],
    [
      "namespace gone, the pod runs in another sandbox",
      view({
        local: [DEAD, local({ sandboxId: "s2" }, { epoch: 4 })],
        bindings: [port({ epoch: 4 }, { sandbox: { id: "s2", interface: "eth0" } })],
      }),
      ["unplug+release"],
    ],
    [
      "namespace gone, another interface of the pod is there",
      view({
        local: [
          DEAD,
          local({ sandboxId: "s2", containerInterface: "net1" }, { portName: `${NAME}/net1`, portId: "P9" }),
        ],
        bindings: [port(), port({ name: `${NAME}/net1`, id: "P9" }, { sandbox: { id: "s2", interface: "net1" } })],
      }),
      [],
    ],
    ["after a reboot: link gone, pod there", view({ local: [LINKLESS] }), ["unplug"]],
    ["link gone, pod gone", view({ local: [LINKLESS], pods: NO_POD }), ["unplug+release"]],
    [
      "link gone, nobody else to ask",
      { self: SELF, local: [LINKLESS], others: new Map(), ended: new Set(), isLeaseInUse: () => false },
      ["unplug"],
    ],

    ["a binding of a pod that is there, nothing plugged", view({ local: [] }), []],
    ["a binding without its pod, nothing plugged", view({ local: [], pods: NO_POD }), ["release"]],
    ["a binding of a finished pod, nothing plugged", view({ local: [], pods: FINISHED }), ["release"]],
    [
      "a binding ahead of a sandbox that never came",
      view({ local: [], bindings: [boundAhead()], pods: NO_POD }),
      ["release"],
    ],
    ["a binding without its pod, Kubernetes away", withoutPods({ local: [] }), []],
    [
      "a binding without its pod, OVS has forgotten the live port",
      view({ local: [FORGOTTEN], pods: NO_POD }),
      ["replug"],
    ],
    [
      "a device's binding",
      view({ local: [], pods: NO_POD, bindings: [port({ owner: { kind: "device", uid: "u1", createdAt: "" } })] }),
      [],
    ],
    [
      "nothing is known",
      { self: SELF, local: [local()], others: new Map(), ended: new Set(), isLeaseInUse: () => false },
      [],
    ],
  ];
  for (const [what, given, expected] of cases) {
    it(`${what}: ${expected.join(", ") || "nothing"}`, () => assert.deepEqual(decideSweep(given).map(say), expected));
  }
});

it("never removes a live pod's port without a newer owner or a deleted pod", () => {
  const bindings = [
    undefined,
    [],
    [port()],
    [boundAhead()],
    [port({ epoch: 4 }, { sandbox: { id: "s2", interface: "eth0" } })],
  ];
  const found = [new Map(), new Map([[NAME, undefined]]), new Map([[NAME, unbound()]]), new Map([[NAME, ELSEWHERE]])];
  const ended = [new Set<string>(), new Set([bindingKey(local())])];
  let checked = 0;
  for (const sandbox of ["there", "unknown"] as const) {
    for (const bound of bindings) {
      for (const other of found) {
        for (const ends of ended) {
          for (const pods of [undefined, POD]) {
            const given: SweepView = {
              self: SELF,
              local: [local({ sandbox })],
              others: other,
              ended: ends,
              isLeaseInUse: () => false,
            };
            if (bound) Object.assign(given, { bindings: bound });
            if (pods) Object.assign(given, { pods });
            const isSuperseded =
              bound !== undefined && ((bound.length === 0 && other.get(NAME) === ELSEWHERE) || bound[0]?.epoch === 4);
            const taken = decideSweep(given).filter(
              ({ kind }) => kind === "fence" || kind === "unplug" || kind === "release",
            );
            assert.equal(taken.length > 0, isSuperseded, JSON.stringify(given));
            checked++;
          }
        }
      }
    }
  }
  assert.equal(checked, 160);
});

it("releases exactly the binding it saw, so that a newer one stays", () => {
  const [action] = decideSweep(view({ local: [], pods: NO_POD }));
  assert.ok(action?.kind === "release");
  const sandbox = { id: "s1", interface: "eth0" };
  assert.deepEqual(action.release, { name: NAME, host: "node-a", ownerUid: "u1", sandbox });
});

describe("the second look", () => {
  const unplug = (why: string, changes = {}): DestructiveAction => ({
    kind: "unplug",
    local: local(changes),
    release: false,
    why,
  });

  it("removes nothing when first found, even without grace", () => {
    assert.deepEqual(selectDue([unplug("a")], new Map(), 1000, 0).due, []);
  });
  it("removes what was found throughout the grace period", () => {
    const first = selectDue([unplug("a")], new Map(), 1000, 500);
    const early = selectDue([unplug("a")], first.pending, 1499, 500);
    assert.deepEqual(early.due, []);
    assert.equal(selectDue([unplug("a")], early.pending, 1500, 500).due.length, 1);
  });
  it("starts again after another finding or reason", () => {
    const first = selectDue([unplug("a")], new Map(), 1000, 500);
    const between = selectDue([], first.pending, 1200, 500);
    assert.deepEqual(selectDue([unplug("a")], between.pending, 2000, 500).due, []);
    assert.deepEqual(selectDue([unplug("b")], first.pending, 2000, 500).due, []);
    assert.deepEqual(selectDue([unplug("a", { sandboxId: "s2" })], first.pending, 2000, 500).due, []);
  });
  it("treats another binding of the same port as another removal", () => {
    const release = (epoch: number): DestructiveAction => {
      return {
        kind: "release",
        port: port({ epoch }),
        release: { host: "node-a", ownerUid: "u1" },
        why: "its pod is gone",
      };
    };
    const first = selectDue([release(3)], new Map(), 1000, 500);
    assert.deepEqual(selectDue([release(4)], first.pending, 2000, 500).due, []);
    assert.equal(selectDue([release(3)], first.pending, 2000, 500).due.length, 1);
  });
});
