import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MooringEvent } from "../../../ipam-server/contract/index.ts";
import { buildMoveEvent, buildReclaimEvent } from "../../../ipam-server/controller/address-events.ts";
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

describe("buildMoveEvent", () => {
  const message = "Kept 10.100.0.5, fd00::5 (port c1/shop/web-2) across the move from node-a to node-b";
  it("reports a move of a bound port", () => {
    const kubeEvent = buildMoveEvent(event({ type: "port.moved", fromHost: "node-a" }), undefined, POD);
    assert.equal(kubeEvent?.message, message);
    assert.equal(kubeEvent?.subject.uid, POD_UID);
  });
  it("reports a move with a release in between", () => {
    assert.equal(buildMoveEvent(event({}), "node-a", POD)?.message, message);
  });
  const noMove: [string, MooringEvent, string | undefined, typeof POD | undefined][] = [
    ["when the pod returns to the same node", event({}), "node-b", POD],
    ["when the port is new", event({}), undefined, POD],
    ["when the port is released", event({ type: "port.released" }), "node-a", POD],
    ["when the pod is not listed", event({}), "node-a", undefined],
  ];
  for (const [what, of, lastHost, pod] of noMove) {
    it(`returns no event ${what}`, () => assert.equal(buildMoveEvent(of, lastHost, pod), undefined));
  }
});

describe("buildReclaimEvent", () => {
  it("names the workload that no longer needs the address", () => {
    const kubeEvent = buildReclaimEvent(
      { port: stickyPort(), decision: { action: "retire", need: "deleted", reason: "it is gone" } },
      { deleted: true },
    );
    assert.deepEqual(kubeEvent?.subject, {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      namespace: "shop",
      name: "web",
      uid: "set-uid",
    });
    assert.match(kubeEvent?.message ?? "", /Reclaimed 10\.100\.0\.5 .*: it is gone/);
  });
  it("says until when an address is kept that its workload does not need", () => {
    const decision = { action: "retire", need: "scaled", reason: "it asks for less" } as const;
    const retained = (outcome: { expiresAt?: string }) =>
      buildReclaimEvent({ port: stickyPort(), decision }, { deleted: false, ...outcome });
    const kubeEvent = retained({ expiresAt: "2026-11-27T08:00:00.000Z" });
    assert.equal(kubeEvent?.reason, "AddressRetained");
    assert.match(kubeEvent?.message ?? "", /Keeps 10\.100\.0\.5 .* until 2026-11-27T08:00:00\.000Z: it asks for less/);
    assert.match(retained({})?.message ?? "", /until it is deleted by hand: it asks for less/);
  });
  it("names a deleted pod by its UID", () => {
    const port = boundPort();
    assert.ok(port.binding);
    const decision = { action: "release", binding: port.binding, reason: "it is gone" } as const;
    const kubeEvent = buildReclaimEvent({ port, decision }, { deleted: false });
    assert.deepEqual(kubeEvent?.subject, {
      apiVersion: "v1",
      kind: "Pod",
      namespace: "shop",
      name: "web-2",
      uid: POD_UID,
    });
  });
});
