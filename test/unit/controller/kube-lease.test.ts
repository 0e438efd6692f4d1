import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  decideKubeLease,
  type KubeLease,
  type ObservedKubeLease,
  resign,
} from "../../../ipam-server/controller/kube-lease.ts";

const NEVER: ObservedKubeLease = { record: undefined, changedAt: 0 };
const held = (change: Partial<KubeLease> = {}): KubeLease => ({
  holder: "b",
  durationSeconds: 15,
  acquireTime: "2026-11-20T08:00:00.000000Z",
  renewTime: "2026-11-20T08:00:00.000000Z",
  transitions: 4,
  ...change,
});
const WALL = Date.UTC(2026, 10, 20, 9);
const decide = (observed: ObservedKubeLease, current: KubeLease | undefined, steadyMs: number, wallMs = WALL) =>
  decideKubeLease(observed, current, "a", 15, { wallMs, steadyMs });

describe("an election by Lease", () => {
  it("is won where there is no Lease", () => {
    const { step } = decide(NEVER, undefined, 0);
    assert.ok(step.do === "write");
    assert.deepEqual(step.record, {
      holder: "a",
      durationSeconds: 15,
      acquireTime: "2026-11-20T09:00:00.000000Z",
      renewTime: "2026-11-20T09:00:00.000000Z",
      transitions: 0,
    });
  });

  it("is won at once if the last leader resigned", () => {
    const { step } = decide(NEVER, resign(held(), WALL), 0);
    assert.ok(step.do === "write");
    assert.equal(step.record.transitions, 5);
  });

  it("waits until a Lease is unchanged for its duration", () => {
    const first = decide(NEVER, held(), 1_000);
    assert.deepEqual(first.step, { do: "wait", role: "follower", leader: "b" });
    assert.equal(decide(first.observed, held(), 15_999).step.do, "wait");
    assert.equal(decide(first.observed, held(), 16_000).step.do, "write");
  });

  it("restarts the wait whenever the leader renews", () => {
    const first = decide(NEVER, held(), 1_000);
    const renewed = held({ renewTime: "2026-11-20T08:00:02.000000Z" });
    const second = decide(first.observed, renewed, 15_000);
    assert.equal(decide(second.observed, renewed, 29_999).step.do, "wait");
    assert.equal(decide(second.observed, renewed, 30_000).step.do, "write");
  });

  it("uses its monotonic clock, not the wall clock", () => {
    const ancient = held({ renewTime: "1999-01-01T00:00:00.000000Z" });
    const first = decide(NEVER, ancient, 1_000);
    assert.equal(first.step.do, "wait");
    assert.equal(decide(first.observed, ancient, 2_000, WALL + 86_400_000).step.do, "wait");
  });

  it("renews without changing acquireTime and transitions", () => {
    const { step } = decide(NEVER, held({ holder: "a" }), 0);
    assert.ok(step.do === "write");
    assert.equal(step.record.acquireTime, held().acquireTime);
    assert.equal(step.record.transitions, 4);
    assert.notEqual(step.record.renewTime, held().renewTime);
  });

  it("is lost to a name in the Lease that is another's", () => {
    const mine = decide(NEVER, held({ holder: "a" }), 0);
    assert.equal(decide(mine.observed, held({ transitions: 5 }), 60_000).step.do, "wait");
  });
});
