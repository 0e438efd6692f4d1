import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ClaimBuilder } from "../../../../cni/agent/claims/claim-builder.ts";
import { AGENT_OPTIONS } from "../../../../cni/agent/config.ts";
import { parseNetworkConfig } from "../../../../cni/spec/config.ts";
import { readOptions } from "../../../../ipam-server/process/options.ts";

describe("ClaimBuilder", () => {
  it("orders the attempts of ADDs also when the clock is set back", async () => {
    const flags = { server: "http://127.0.0.1:1", networkSelector: "env=prod" };
    const options = readOptions(AGENT_OPTIONS, { flags, env: {}, readFile: () => "" });
    const clock = [2000, 1000, 1000, 5000];
    const builder = new ClaimBuilder({
      config: { ...options, nodeName: "node-a", cluster: "c1" },
      now: () => new Date(clock.shift() ?? 0),
      pods: { find: async () => undefined, namespaceOf: async ({ namespace: name }) => ({ name, annotations: {} }) },
    });
    const raw = { name: "pods", type: "mooring", agentSocket: "/run/mooring/agent.sock", networkSelector: "env=prod" };
    const config = parseNetworkConfig(raw, "1.1.0", "ADD");
    const attempts: (string | undefined)[] = [];
    for (const containerId of ["s1", "s2"]) {
      const invocation = { containerId, netns: "/var/run/netns/x", ifname: "eth0", args: "" };
      attempts.push((await builder.deriveForCall({ invocation, config })).attemptedAt);
    }
    assert.deepEqual(attempts, ["1970-01-01T00:00:02.000Z", "1970-01-01T00:00:02.001Z"]);
  });
});
