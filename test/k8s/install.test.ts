import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { before, describe, it } from "node:test";
import { Cluster, isReady, type KubeObject } from "./support/cluster.ts";
import { ENVIRONMENT, NO_HAND_ON_NODES } from "./support/environment.ts";
import { eventually, expect } from "./support/eventually.ts";
import { INVENTORY_FILE } from "./support/inventory.ts";
import { Ipam, SYSTEM } from "./support/ipam.ts";
import { onNode, takeInventory } from "./support/nodes.ts";

interface DaemonSet extends KubeObject {
  status: { desiredNumberScheduled: number; numberReady: number; updatedNumberScheduled?: number };
}

describe("installation", { timeout: 600_000 }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = new Cluster();
    if (NO_HAND_ON_NODES) return;
    // For the last test, which compares.
    const nodes = (await cluster.nodes()).map(({ metadata }) => metadata.name);
    const inventory = await Promise.all(nodes.map(async node => [node, await takeInventory(node)] as const));
    mkdirSync(dirname(INVENTORY_FILE), { recursive: true });
    writeFileSync(INVENTORY_FILE, JSON.stringify(Object.fromEntries(inventory)), { flag: "wx" });
  });

  it("starts IPAM, controller and agents with one kubectl apply -k", async () => {
    await cluster.kubectl(["apply", "-k", ENVIRONMENT.overlay]);
    const nodes = await cluster.nodes();
    await eventually(
      "an agent on every node",
      async () => {
        const agents = await cluster.find<DaemonSet>("daemonsets", SYSTEM, "mooring-agent");
        return expect(agents?.status.numberReady === nodes.length, () => JSON.stringify(agents?.status));
      },
      300_000,
    );
    const ipam = await Ipam.find(cluster);
    await ipam.ctl("apply", "-f", ENVIRONMENT.networks);
  });

  it("makes the nodes ready", async () => {
    await eventually("all nodes to be ready", async () => {
      const nodes = await cluster.nodes();
      return expect(nodes.length > 1 && nodes.every(isReady), () =>
        nodes.map(node => `${node.metadata.name}: ${JSON.stringify(node.status.conditions)}`).join("\n"),
      );
    });
  });

  it("installs an executable whose STATUS succeeds on the node", {
    skip: NO_HAND_ON_NODES,
  }, async () => {
    for (const { metadata } of await cluster.nodes()) {
      const version = await onNode(metadata.name, ["env", "CNI_COMMAND=VERSION", "/opt/cni/bin/mooring"], {
        input: '{"cniVersion":"1.1.0"}',
      });
      assert.ok((JSON.parse(version) as { supportedVersions: string[] }).supportedVersions.includes("0.3.1"));
      const input = JSON.stringify({
        cniVersion: "1.1.0",
        name: "mooring",
        type: "mooring",
        agentSocket: "/run/mooring/agent.sock",
      });
      await eventually("STATUS to be well", async () => {
        await onNode(metadata.name, ["env", "CNI_COMMAND=STATUS", "CNI_PATH=/opt/cni/bin", "/opt/cni/bin/mooring"], {
          input,
        });
        return true;
      });
    }
  });

  it("leaves the agent's socket to root alone", { skip: NO_HAND_ON_NODES }, async () => {
    for (const { metadata } of await cluster.nodes()) {
      const mode = await onNode(metadata.name, ["stat", "-c", "%a %U", "/run/mooring/agent.sock"]);
      assert.match(mode, /^[0-7]00 root/);
    }
  });
});
