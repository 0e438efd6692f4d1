import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isUninstalled, type ResourceState, readAgentState } from "../../../../cni/agent/install/uninstalled.ts";
import { KubeError } from "../../../../ipam-server/kube/kube-error.ts";

describe("isUninstalled", () => {
  const all: ResourceState[] = ["there", "deleting", "gone", "refused", "unknown"];
  for (const daemonSet of all) {
    for (const namespace of all) {
      for (const wasThere of [true, false]) {
        const isBeingDeleted = daemonSet === "deleting" || namespace === "deleting";
        const expected = isBeingDeleted || (wasThere && (daemonSet === "gone" || namespace === "gone"));
        const known = wasThere ? "there before" : "never there";
        it(`DaemonSet ${daemonSet}, namespace ${namespace}, ${known}: ${expected}`, () => {
          assert.equal(isUninstalled({ daemonSet, namespace }, wasThere), expected);
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

  it("uses what the watch of the namespace has only if a read is refused or fails", async () => {
    const own = { namespace: "n", name: "d" };
    for (const status of [0, 401, 403, 503]) {
      const api = { get: () => Promise.reject(new KubeError(status, "on demand")) };
      assert.equal((await readAgentState(api, own, { state: "deleting" })).namespace, "deleting");
    }
    const there = { get: async () => ({ metadata: {} }) };
    assert.equal((await readAgentState(there, own, { state: "gone" })).namespace, "there");
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
