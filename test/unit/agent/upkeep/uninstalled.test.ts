import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isUninstalled, type ResourceState, readAgentState } from "../../../../cni/agent/install/uninstalled.ts";
import { KubeError } from "../../../../ipam-server/kube/kube-error.ts";

describe("isUninstalled", () => {
  const all: ResourceState[] = ["there", "deleting", "gone", "refused", "unknown"];
  for (const daemonSet of all) {
    for (const namespace of all) {
      for (const wasAnswered of [true, false]) {
        const isBeingDeleted = daemonSet === "deleting" || namespace === "deleting";
        const isOver = daemonSet === "gone" || daemonSet === "refused" || namespace === "gone";
        const expected = isBeingDeleted || (wasAnswered && isOver);
        const known = wasAnswered ? "answered before" : "never answered";
        it(`DaemonSet ${daemonSet}, namespace ${namespace}, ${known}: ${expected}`, () => {
          assert.equal(isUninstalled({ daemonSet, namespace }, wasAnswered), expected);
        });
      }
    }
  }

  it("is unknown after a failed or invalid answer, and keeps the node", async () => {
    for (const status of [0, 429, 500, 503, 504]) {
      const api = { get: () => Promise.reject(new KubeError(status, "on demand")) };
      const state = await readAgentState(api, { namespace: "n", name: "d" });
      assert.deepEqual(state, { daemonSet: "unknown", namespace: "unknown" });
      assert.equal(isUninstalled(state, true), false);
    }
    const nonsense = await readAgentState({ get: async () => "<html>" }, { namespace: "n", name: "d" });
    assert.equal(nonsense.daemonSet, "unknown");
  });

  it("reads the DaemonSet and its namespace", async () => {
    const paths: string[] = [];
    const api = {
      get: async (path: string) => {
        paths.push(path);
        if (path.endsWith("/daemonsets/d")) throw new KubeError(403, "on demand");
        return { metadata: { deletionTimestamp: "2026-11-20T08:00:00Z" } };
      },
    };
    const state = await readAgentState(api, { namespace: "n", name: "d" });
    assert.deepEqual(state, { daemonSet: "refused", namespace: "deleting" });
    assert.deepEqual(paths.sort(), ["/api/v1/namespaces/n", "/apis/apps/v1/namespaces/n/daemonsets/d"]);
  });
});
