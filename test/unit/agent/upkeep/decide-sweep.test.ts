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
import { local, port, preclaimed, SELF, unbound } from "./local.ts";

const NAME = "c1/default/web-0";
const POD = new Map([["u1", { finished: false, hasRun: true }]]);
const WAITING = new Map([["u1", { finished: false, hasRun: false }]]);
const NO_POD = new Map<string, { finished: boolean; hasRun: boolean }>();
const FINISHED = new Map([["u1", { finished: true, hasRun: true }]]);

function view(changes: Partial<SweepView>): SweepView {
  return {
    self: SELF,
    local: [local()],
    bindings: [port()],
    others: new Map(),
    pods: POD,
    ended: new Set(),
    isLeaseInUse: () => false,
    migrations: new Map(),
    ...changes,
  };
}

/** Formats an action as in the table. */
function format(action: SweepAction): string {
  if (action.kind === "unplug") return action.release ? "unplug+release" : "unplug";
  if (action.kind === "claim" && action.leasedPort === LEASE) return "claim leased";
  return action.kind === "fence" ? `fence ${action.reason}` : action.kind;
}

const withoutRow = local();
delete withoutRow.ovs;
const NO_ROW = { ...withoutRow, sandbox: "unknown" as const };
const CACHED = { ...NO_ROW, lastKnown: { ...local().ovs, addresses: [], mac: "0a:58:0a:64:01:01" } };
const ELSEWHERE = port({ epoch: 4 }, { host: "node-b", ownerUid: "u2", sandbox: { id: "s9", interface: "eth0" } });
const RECREATED = port({ epoch: 4 }, { ownerUid: "u0", sandbox: { id: "s0", interface: "eth0" } });
const ANOTHER_ID = { ...ELSEWHERE, id: "P0", epoch: 1 };
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
/** The local port in the IPAM before the assignment of its lease is delivered. */
const leased = (lease: "in use" | "unknown", changes: Partial<SweepView> = {}) => {
  const owner = { kind: "lease", uid: "l1", createdAt: "2026-11-20T08:00:00.000Z" } as const;
  const bindings = [preclaimed({ name: LEASE, owner }, { ownerUid: "l1" })];
  const isLeaseInUse = (name: string) => lease === "in use" && name === LEASE;
  return view({ ...others(undefined), bindings, isLeaseInUse, ...changes });
};
const DEAD = local({ sandbox: "gone" });
const LINKLESS = local({ sandbox: "gone", hasLink: false });
const FENCED = local({ isFenced: true }, { ofport: undefined as never });
const FENCED_NO_ROW = { ...CACHED, isFenced: true };
const FENCED_DEAD = { ...FENCED, sandbox: "gone" as const };
const wrongBridge = { found: "br-int", expected: "br-int-physnet2", isOurs: true };
const WRONG_BRIDGE = local({}, { wrongBridge, wrongVlan: "tag=7" });
const FOREIGN_BRIDGE = local({}, { wrongBridge: { ...wrongBridge, isOurs: false } });
const MOUNT_UNSEEN = local({ sandbox: "unknown" });

describe("decideSweep", () => {
  const cases: [string, SweepView, string[]][] = [
    ["all is right", view({}), []],
    ["all is right, and the netns folder is not visible", view({ local: [MOUNT_UNSEEN] }), []],
    ["a pod deleted in Kubernetes still runs with its own binding", view({ pods: NO_POD }), []],

    ["a live port has no OVS row", view({ local: [NO_ROW] }), ["replug"]],
    ["no OVS row, Kubernetes down", withoutPods({ local: [NO_ROW] }), ["replug"]],
    ["no OVS row, IPAM down", withoutBindings({ local: [NO_ROW] }), []],
    ["no OVS row, IPAM down, cached by this agent", withoutBindings({ local: [CACHED] }), ["restore"]],
    ["no OVS row, and no such sandbox in the IPAM", view({ local: [NO_ROW], bindings: [] }), []],
    ["OVS has an older epoch of its own binding", view({ local: [local({}, { epoch: 2 })] }), ["replug"]],
    ["OVS has another port id of its own binding", view({ local: [local({}, { portId: "P0" })] }), ["replug"]],
    ["not reported to the IPAM as up", view({ bindings: [port({ underlay: "BUILD" })] }), ["report"]],
    [
      "not reported as up, and without an ofport yet",
      view({ local: [local({}, { ofport: undefined as never })], bindings: [port({ underlay: "BUILD" })] }),
      [],
    ],
    ["its VLAN was changed in OVS", view({ local: [local({}, { wrongVlan: "tag=7" })] }), ["restoreVlan"]],
    [
      "its VLAN was changed while IPAM and Kubernetes are down",
      view({ local: [local({}, { wrongVlan: "tag=7" })], bindings: undefined as never, pods: undefined as never }),
      ["restoreVlan"],
    ],
    [
      "it was plugged before VLANs were recorded",
      view({ local: [local({}, { recordedVlan: undefined as never })] }),
      ["replug"],
    ],
    [
      "it was plugged before physical networks were recorded",
      view({ local: [local({}, { physicalNetwork: undefined as never })] }),
      ["replug"],
    ],
    ["on another physical network's bridge", view({ local: [WRONG_BRIDGE] }), ["restore"]],
    ["on another physical network's bridge, IPAM down", withoutBindings({ local: [WRONG_BRIDGE] }), ["restore"]],
    ["fenced on another bridge, IPAM down", withoutBindings({ local: [{ ...WRONG_BRIDGE, isFenced: true }] }), []],
    ["on a bridge of others", view({ local: [FOREIGN_BRIDGE] }), ["replug"]],
    ["on a bridge of others, and not this agent's to move", withoutBindings({ local: [FOREIGN_BRIDGE] }), []],
    ["an operator or a driver set ERROR", view({ bindings: [port({ underlay: "ERROR" })] }), []],

    ["bound elsewhere", view(others(ELSEWHERE)), ["fence moved"]],
    ["bound elsewhere, fenced", view({ ...others(ELSEWHERE), local: [FENCED] }), []],
    ["bound elsewhere, fenced, pod gone", view({ ...others(ELSEWHERE), local: [FENCED], pods: NO_POD }), []],
    ["plugged with its link down", view({ local: [local({ isLinkDown: true })] }), ["replug"]],
    ["fenced, its binding returned", view({ local: [FENCED] }), ["replug"]],
    ["fenced, the binding is lost", view({ ...others(unbound()), local: [FENCED] }), ["claim"]],
    ["fenced, the IPAM is down", withoutBindings({ local: [FENCED] }), []],
    ["fenced, and OVSDB was wiped while the IPAM is down", withoutBindings({ local: [FENCED_NO_ROW] }), []],
    ["fenced, its netns and its pod gone", view({ local: [FENCED_DEAD], pods: NO_POD }), ["unplug+release"]],
    [
      "fenced, no binding and no pod, its end reported by an event",
      view({ ...others(undefined), local: [FENCED], pods: NO_POD, ended: new Set([bindingKey(FENCED)]) }),
      ["unplug"],
    ],
    [
      "fenced, and the pod that has its port now is gone before it was plugged",
      view({
        local: [FENCED],
        bindings: [port({ epoch: 4 }, { ownerUid: "u2", sandbox: { id: "s2", interface: "eth0" } })],
      }),
      ["release"],
    ],
    ["bound elsewhere, in a backup", view({ ...others(ELSEWHERE), isRecovering: true }), ["claim"]],
    [
      "bound elsewhere, in an older backup",
      view({ ...others({ ...ELSEWHERE, epoch: 2 }), isRecovering: true }),
      ["claim"],
    ],
    ["recreated here since the backup", view({ bindings: [RECREATED], isRecovering: true }), ["claim"]],
    ["created again since the backup", view({ ...others(ANOTHER_ID), isRecovering: true }), ["claim"]],
    [
      "bound elsewhere, in a backup, pod gone",
      view({ ...others(ELSEWHERE), isRecovering: true, pods: NO_POD }),
      ["fence moved"],
    ],
    ["fenced, bound elsewhere, in a backup", view({ ...others(ELSEWHERE), isRecovering: true, local: [FENCED] }), []],
    [
      "bound elsewhere, on another network's bridge",
      view({ ...others(ELSEWHERE), local: [WRONG_BRIDGE] }),
      ["fence moved"],
    ],
    ["bound elsewhere, pod gone", view({ ...others(ELSEWHERE), pods: NO_POD }), ["fence moved"]],
    ["bound elsewhere, Kubernetes down", withoutPods(others(ELSEWHERE)), ["fence moved"]],
    ["bound elsewhere at an older epoch: an old backup", view(others({ ...ELSEWHERE, epoch: 2 })), []],
    [
      "another port of the name is bound elsewhere",
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
      "pre-claimed here for a newer pod",
      view({
        bindings: [preclaimed({ epoch: 4 }, { ownerUid: "u2" })],
        pods: new Map([["u2", { finished: false, hasRun: true }]]),
      }),
      ["fence moved"],
    ],
    ["bound here for its pod without a sandbox", view({ bindings: [preclaimed()] }), ["claim"]],
    ["bound here without a sandbox, Kubernetes down", withoutPods({ bindings: [preclaimed()] }), []],

    ["the binding is lost", view(others(undefined)), ["claim"]],
    ["the binding is lost, the port exists", view(others(unbound())), ["claim"]],
    ["the binding is lost, Kubernetes down", withoutPods(others(undefined)), []],
    ["the binding is lost, the IPAM's answer about the port failed", view({ bindings: [] }), []],
    ["its lease's assignment is not delivered yet", leased("in use"), []],
    ["its lease's assignment is not delivered yet, pod gone", leased("in use", { pods: NO_POD }), []],
    ["its lease's assignment was lost", leased("unknown"), ["claim leased"]],
    ["its lease's assignment was lost, pod gone", leased("unknown", { pods: NO_POD }), ["unplug"]],
    ["an idle lease of this agent", leased("in use", { local: [] }), []],
    ["a lease that this agent does not hold", leased("unknown", { local: [] }), ["release"]],
    ["no binding and no pod", view({ ...others(undefined), pods: NO_POD }), ["unplug"]],
    [
      "no binding and no pod, its end reported by an event",
      view({ ...others(undefined), pods: NO_POD, ended: new Set([bindingKey(local())]) }),
      ["fence released"],
    ],
    [
      "an event reported the end of an earlier binding",
      view({ ...others(undefined), pods: NO_POD, ended: new Set([bindingKey(local({}, { epoch: 2 }))]) }),
      ["unplug"],
    ],
    [
      "an event reported its end, but the pod exists",
      view({ ...others(undefined), ended: new Set([bindingKey(local())]) }),
      ["claim"],
    ],
    [
      "no binding, and no owner in OVS",
      view({ ...others(undefined), local: [local({}, { ownerUid: undefined as never })] }),
      [],
    ],

    ["netns gone, pod there", view({ local: [DEAD] }), []],
    ["netns gone, pod gone", view({ local: [DEAD], pods: NO_POD }), ["unplug+release"]],
    ["netns gone, pod gone, IPAM down", withoutBindings({ local: [DEAD], pods: NO_POD }), ["unplug+release"]],
    ["netns gone, Kubernetes down", withoutPods({ local: [DEAD] }), []],
    [
      "netns gone, the pod runs in another sandbox",
      view({
        local: [DEAD, local({ sandboxId: "s2" }, { epoch: 4 })],
        bindings: [port({ epoch: 4 }, { sandbox: { id: "s2", interface: "eth0" } })],
      }),
      ["unplug+release"],
    ],
    [
      "netns gone, another interface of the pod is there",
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
      "link gone, Kubernetes and IPAM down",
      {
        self: SELF,
        local: [LINKLESS],
        others: new Map(),
        ended: new Set(),
        isLeaseInUse: () => false,
        migrations: new Map(),
      },
      ["unplug"],
    ],

    ["a binding of a pod that is there, nothing plugged", view({ local: [] }), []],
    ["a binding without its pod, nothing plugged", view({ local: [], pods: NO_POD }), ["release"]],
    ["a binding of a finished pod, nothing plugged", view({ local: [], pods: FINISHED }), ["release"]],
    ["a pre-claim whose sandbox never came", view({ local: [], bindings: [preclaimed()], pods: NO_POD }), ["release"]],
    ["a pre-claim whose pod waits", view({ local: [], bindings: [preclaimed()], pods: WAITING }), []],
    ["a pre-claim whose pod runs without it", view({ local: [], bindings: [preclaimed()] }), ["release"]],
    ["a pre-claim whose pod runs, a link without OVS row", view({ local: [NO_ROW], bindings: [preclaimed()] }), []],
    ["a binding without its pod, Kubernetes down", withoutPods({ local: [] }), []],
    ["a binding without its pod, a live port without OVS row", view({ local: [NO_ROW], pods: NO_POD }), ["replug"]],
    [
      "a device's binding",
      view({ local: [], pods: NO_POD, bindings: [port({ owner: { kind: "device", uid: "u1", createdAt: "" } })] }),
      [],
    ],
    [
      "Kubernetes and IPAM down",
      {
        self: SELF,
        local: [local()],
        others: new Map(),
        ended: new Set(),
        isLeaseInUse: () => false,
        migrations: new Map(),
      },
      [],
    ],
  ];
  for (const [what, given, expected] of cases) {
    it(`${what}: ${expected.join(", ") || "nothing"}`, () =>
      assert.deepEqual(decideSweep(given).map(format), expected));
  }
});

describe("a sweep of a migration's target", () => {
  const fenced = local({ isFenced: true });
  const { binding: inactiveBinding, ...away } = port();
  assert.ok(inactiveBinding);
  const inactive = [
    {
      ...away,
      ...(ELSEWHERE.binding && { binding: ELSEWHERE.binding }),
      epoch: 2,
      inactiveBinding: { ...inactiveBinding, epoch: 3, migration: { id: "m1" } },
    },
  ];
  const migrations = (state: "waiting" | "ready") => new Map([["u1", state] as const]);
  const target = (changes: Partial<SweepView>) => view({ local: [fenced], bindings: [], inactive, ...changes });
  const cases: [string, SweepView, string[]][] = [
    ["plugged silent, the machine runs elsewhere", target({ migrations: migrations("waiting") }), []],
    ["plugged silent, nothing known of its pod", target({}), []],
    ["connected by mistake", target({ local: [local()], migrations: migrations("waiting") }), ["fence inactive"]],
    ["the machine runs here", target({ migrations: migrations("ready") }), ["activate"]],
    [
      "its sandbox and its pod are gone",
      target({ local: [local({ isFenced: true, sandbox: "gone" })], pods: NO_POD }),
      ["unplug+release"],
    ],
    ["its pod is gone, nothing plugged", target({ local: [], pods: NO_POD }), ["release"]],
    ["its pod has failed, nothing plugged", target({ local: [], pods: FINISHED }), ["release"]],
    ["its pod waits, nothing plugged", target({ local: [], pods: WAITING }), []],
    ["activated", target({ inactive: [], bindings: [port({ epoch: 4 })] }), ["replug"]],
    [
      "its binding was dropped, the source has the port",
      target({ inactive: [], others: new Map([[NAME, { ...ELSEWHERE, epoch: 2 }]]) }),
      [],
    ],
    [
      "the IPAM has lost the port, the machine runs elsewhere",
      target({ inactive: [], others: new Map([[NAME, undefined]]), migrations: migrations("waiting") }),
      [],
    ],
    [
      "the IPAM has lost the port, the machine runs here",
      target({ inactive: [], others: new Map([[NAME, undefined]]), migrations: migrations("ready") }),
      ["claim"],
    ],
  ];
  for (const [what, given, expected] of cases) {
    it(`${what}: ${expected.join(", ") || "nothing"}`, () =>
      assert.deepEqual(decideSweep(given).map(format), expected));
  }
});

describe("removals of a sweep", () => {
  it("never removes a live pod's port without a newer owner or a deleted pod", () => {
    const bindings = [
      undefined,
      [],
      [port()],
      [preclaimed()],
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
                migrations: new Map(),
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
    assert.deepEqual(action.release, { name: NAME, host: "node-a", ownerUid: "u1", sandbox, unplugged: true });
  });
});
describe("selectDue", () => {
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
