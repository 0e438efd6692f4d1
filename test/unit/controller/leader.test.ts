import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Leader } from "../../../ipam-server/controller/leader.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { eventually } from "../../controller/eventually.ts";

/** One Lease and a clock that the test sets. */
function setUp() {
  const state = { steadyMs: 0, lease: undefined as Record<string, unknown> | undefined, fails: false, version: 0 };
  const step = <T>(work: () => T): Promise<T> => {
    if (state.fails) return Promise.reject(new KubeError(500, "away"));
    return Promise.resolve().then(work);
  };
  const write = (body: unknown) => {
    const { metadata, spec } = body as { metadata: { resourceVersion?: string }; spec: unknown };
    const held = (state.lease?.metadata as { resourceVersion?: string } | undefined)?.resourceVersion;
    if (metadata.resourceVersion !== held) throw new KubeError(409, "the object has been modified");
    state.lease = { metadata: { ...metadata, resourceVersion: String(++state.version) }, spec };
    return state.lease;
  };
  const leader = new Leader({
    api: {
      get: () =>
        step(() => {
          if (state.lease === undefined) throw new KubeError(404, "none");
          return state.lease;
        }),
      call: (_method, _path, { body } = {}) => step(() => write(body)),
    },
    namespace: "ns",
    name: "lease",
    identity: "a",
    durationSeconds: 15,
    retryMs: 1,
    clock: () => ({ wallMs: Date.UTC(2026, 10, 20), steadyMs: state.steadyMs }),
  });
  const spec = () => state.lease?.spec as { holderIdentity: string } | undefined;
  const until = (condition: () => boolean) => eventually("the leadership to change", condition);
  return { state, leader, spec, until };
}

describe("Leader", () => {
  it("stops before its Lease expires, and resumes once it can renew", async () => {
    const { state, leader, until } = setUp();
    await until(() => leader.isLeader());
    state.fails = true;
    state.steadyMs += 9_999;
    assert.ok(leader.isLeader());
    state.steadyMs += 10_000;
    assert.ok(!leader.isLeader());
    state.fails = false;
    await until(() => leader.isLeader());
    await leader[Symbol.asyncDispose]();
  });

  it("resigns when disposed", async () => {
    const { leader, spec, until } = setUp();
    await until(() => leader.isLeader());
    await leader[Symbol.asyncDispose]();
    assert.equal(spec()?.holderIdentity, "");
    assert.ok(!leader.isLeader());
  });

  it("follows at once when another replica holds the Lease", async () => {
    const { state, leader, spec, until } = setUp();
    await until(() => leader.isLeader());
    const metadata = { name: "lease", resourceVersion: String(++state.version) };
    const renewTime = "2026-11-20T00:00:00.000000Z";
    state.lease = {
      metadata,
      spec: { holderIdentity: "b", leaseDurationSeconds: 15, acquireTime: renewTime, renewTime },
    };
    await until(() => !leader.isLeader());
    await leader[Symbol.asyncDispose]();
    assert.equal(spec()?.holderIdentity, "b");
  });
});
