import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { MooringEvent } from "../../../ipam-server/contract/index.ts";
import { describeGivenBack, describeMove } from "../../../ipam-server/controller/report-kept-ports.ts";
import { boundPort, POD_UID, stickyPort } from "./ports.ts";

const POD = { namespace: "shop", name: "web-2", uid: POD_UID, nodeName: "node-b" };
const event = (change: Partial<MooringEvent>): MooringEvent => ({
  seq: 1,
  time: "2026-11-20T08:00:00.000Z",
  type: "port.bound",
  caller: "test",
  port: "c1/shop/web-2",
  host: "node-b",
  addresses: ["10.100.0.5", "fd00::5"],
  ...change,
});

describe("a pod hears of its address coming along", () => {
  const message = "Kept 10.100.0.5, fd00::5 (port c1/shop/web-2) across the move from node-a to node-b";
  test("when it moves while bound", () => {
    const told = describeMove(event({ type: "port.moved", fromHost: "node-a" }), undefined, POD);
    assert.equal(told?.message, message);
    assert.equal(told?.subject.uid, POD_UID);
  });
  test("when it was released in between", () => {
    assert.equal(describeMove(event({}), "node-a", POD)?.message, message);
  });
  const silent: [string, MooringEvent, string | undefined, typeof POD | undefined][] = [
    ["when it comes back to the same node", event({}), "node-b", POD],
    ["when it is new", event({}), undefined, POD],
    ["when it is released", event({ type: "port.released" }), "node-a", POD],
    ["when the pod is not known", event({}), "node-a", undefined],
  ];
  for (const [what, of, lastHost, pod] of silent) {
    test(`not ${what}`, () => assert.equal(describeMove(of, lastHost, pod), undefined));
  }
});

describe("an address given back is told", () => {
  test("to the workload that no longer asks for it", () => {
    const told = describeGivenBack(
      { port: stickyPort(), verdict: { action: "delete", reason: "it is gone" } },
      undefined,
    );
    assert.deepEqual(told?.subject, {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      namespace: "shop",
      name: "web",
      uid: "set-uid",
    });
    assert.match(told?.message ?? "", /Gave back 10\.100\.0\.5 .*: it is gone/);
  });
  test("of the pod that is no more, by its UID", () => {
    const port = boundPort();
    assert.ok(port.binding);
    const verdict = { action: "release", binding: port.binding, reason: "it is gone" } as const;
    const told = describeGivenBack({ port, verdict }, undefined);
    assert.deepEqual(told?.subject, { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web-2", uid: POD_UID });
  });
});
