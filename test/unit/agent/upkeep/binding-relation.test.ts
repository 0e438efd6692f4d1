import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  classifyBinding,
  classifyEvent,
  type EventAction,
  type NewerBinding,
} from "../../../../cni/agent/upkeep/binding-relation.ts";
import type { LocalPort } from "../../../../cni/agent/upkeep/local-port.ts";
import type { MooringEvent } from "../../../../ipam-server/contract/index.ts";
import { event, local, SELF } from "./local.ts";

describe("classifyEvent", () => {
  const away = { host: "node-b", fromHost: "node-a", ownerUid: "u2" };
  const cases: [string, EventAction, Partial<MooringEvent>, LocalPort?][] = [
    ["its binding moved to another host", "fence", { epoch: 4, ...away }],
    ["its port was bound elsewhere after a release", "fence", { type: "port.bound", epoch: 4, host: "node-b" }],
    ["several moves later", "fence", { epoch: 9, host: "node-c", fromHost: "node-b" }],
    ["a replayed move from before it was plugged", "none", { epoch: 2, ...away }],
    ["the move that brought it here", "none", { epoch: 3, host: "node-a", sandboxId: "s1", ownerUid: "u1" }],
    [
      "fenced, its binding returned",
      "compare",
      { epoch: 5, host: "node-a", sandboxId: "s1", ownerUid: "u1" },
      local({ isFenced: true }),
    ],
    ["fenced, its binding moved again", "compare", { epoch: 5, ...away }, local({ isFenced: true })],
    ["a new sandbox of its pod on this host", "fence", { epoch: 4, host: "node-a", sandboxId: "s2", ownerUid: "u1" }],
    ["its own sandbox bound again after a loss", "none", { epoch: 4, host: "node-a", sandboxId: "s1", ownerUid: "u1" }],
    ["its own pod bound before the sandbox", "none", { epoch: 4, host: "node-a", ownerUid: "u1" }],
    ["a new pod on this host pre-claimed", "fence", { epoch: 4, host: "node-a", ownerUid: "u2" }],
    [
      "a host of the same name in another cluster",
      "fence",
      { epoch: 4, host: "node-a", cluster: "c2", ownerUid: "u2" },
    ],
    [
      "another port of its name bound elsewhere",
      "compare",
      { type: "port.bound", portId: "P2", epoch: 1, host: "node-b" },
    ],
    [
      "another port of its name bound to its own sandbox",
      "none",
      { portId: "P2", epoch: 1, host: "node-a", sandboxId: "s1" },
    ],
    [
      "another port got its address",
      "compare",
      { type: "port.bound", port: "x", portId: "X", addresses: ["10.100.1.1"] },
    ],
    [
      "another port got another address",
      "none",
      { type: "port.bound", port: "x", portId: "X", addresses: ["10.100.1.2"] },
    ],
    [
      "another port with its address was released",
      "none",
      { type: "port.released", port: "x", addresses: ["10.100.1.1"] },
    ],
    [
      "it was leased before it was the pod's",
      "none",
      { type: "port.bound", port: "lease:node-a/1", epoch: 3, host: "node-a", addresses: ["10.100.1.1"] },
    ],
    ["its binding was ended", "ended", { type: "port.released", epoch: 3, host: "node-a" }],
    ["a binding before its own was ended", "none", { type: "port.released", epoch: 2, host: "node-a" }],
    ["its port was deleted", "ended", { type: "port.deleted", epoch: 3 }],
    ["another port of its name was deleted", "none", { type: "port.deleted", portId: "P2", epoch: 3 }],
    ["its port got other addresses", "compare", { type: "port.reallocated", epoch: 3 }],
    ["its state changed", "none", { type: "port.state", epoch: 9 }],
    ["a network changed", "none", { type: "network.changed", port: undefined as never }],
    ["a port without an OVS row", "none", { epoch: 4, ...away }, local({ ovs: undefined as never })],
    ["a port without an epoch", "none", { epoch: 4, ...away }, local({}, { epoch: undefined as never })],
  ];
  for (const [what, expected, changes, port = local()] of cases) {
    it(`${what}: ${expected}`, () => assert.equal(classifyEvent(port, event(changes), SELF), expected));
  }
});

describe("classifyBinding", () => {
  it("never fences for a binding of its own sandbox on this host", () => {
    for (const portId of ["P1", "P2", undefined]) {
      for (const epoch of [0, 3, 99, undefined]) {
        const newer = {
          host: "node-a",
          sandboxId: "s1",
          ...(portId && { portId }),
          ...(epoch !== undefined && { epoch }),
        };
        assert.equal(classifyBinding(local(), newer satisfies NewerBinding, SELF), "own");
      }
    }
  });

  it("never fences for a binding that is not newer", () => {
    for (const epoch of [0, 1, 2, 3]) {
      for (const host of ["node-a", "node-b"]) {
        const newer = { portId: "P1", epoch, host, sandboxId: "s9", ownerUid: "u9" };
        assert.notEqual(classifyBinding(local(), newer, SELF), "superseded");
      }
    }
  });
});
