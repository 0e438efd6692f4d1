import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { type KubeEvent, KubeEvents } from "../../../ipam-server/kube/kube-events.ts";

const EVENT: KubeEvent = {
  subject: { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web-0", uid: "u" },
  type: "Normal",
  reason: "AddressKept",
  message: "Kept 10.0.0.5",
};

function setUp() {
  const calls: { method: string; path: string; body: Record<string, unknown> }[] = [];
  const state = { now: 0, status: 0, errors: 0 };
  const api = {
    async call(method: string, path: string, { body }: { body?: unknown } = {}) {
      if (state.status !== 0 && method === "PATCH") throw new KubeError(state.status, "no");
      calls.push({ method, path, body: body as Record<string, unknown> });
      return method === "POST" ? body : {};
    },
  };
  const events = new KubeEvents({ api, component: "test", now: () => state.now, onError: () => state.errors++ });
  const write = async (...items: KubeEvent[]) => {
    for (const item of items) events.write(item);
    await events[Symbol.asyncDispose]();
  };
  return { calls, state, write, methods: () => calls.map(call => call.method) };
}

describe("Kubernetes events", () => {
  it("are written once for the same text, with a count", async () => {
    const { write, calls, methods } = setUp();
    await write(EVENT, EVENT, EVENT);
    assert.deepEqual(methods(), ["POST", "PATCH", "PATCH"]);
    assert.equal(calls[2]?.body.count, 3);
    assert.ok(calls[1]?.path.startsWith("/api/v1/namespaces/shop/events/web-0."));
  });
  it("are written again after the quiet period", async () => {
    const { write, state, methods } = setUp();
    await write(EVENT);
    state.now += 11 * 60_000;
    await write(EVENT);
    assert.deepEqual(methods(), ["POST", "POST"]);
  });
  it("are created again if the API server deleted them", async () => {
    const { write, state, methods } = setUp();
    await write(EVENT);
    state.status = 404;
    await write(EVENT);
    assert.deepEqual(methods(), ["POST", "POST"]);
  });
  it("distinguish pods of one name by UID", async () => {
    const { write, methods } = setUp();
    await write(EVENT, { ...EVENT, subject: { ...EVENT.subject, uid: "other" } });
    assert.deepEqual(methods(), ["POST", "POST"]);
  });
  it("do not block the next when one cannot be written", async () => {
    const { write, state, methods } = setUp();
    await write(EVENT);
    state.status = 403;
    await write(EVENT);
    assert.equal(state.errors, 1);
    await write({ ...EVENT, message: "another" });
    assert.deepEqual(methods(), ["POST", "POST"]);
  });
  it("are limited to bursts of 100 and 10 per second", async () => {
    const { write, state, calls } = setUp();
    const many = (from: number) => Array.from({ length: 300 }, (_, i) => ({ ...EVENT, message: `no ${from + i}` }));
    await write(...many(0));
    assert.equal(calls.length, 100);
    state.now += 1000;
    await write(...many(300));
    assert.equal(calls.length, 110);
  });
});
