import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { describe, it } from "node:test";
import { Cluster } from "./support/cluster.ts";
import { ENVIRONMENT, NO_HAND_ON_NODES } from "./support/environment.ts";
import { eventually, expect } from "./support/eventually.ts";
import { INVENTORY_FILE } from "./support/inventory.ts";
import { SYSTEM } from "./support/ipam.ts";
import { takeInventory } from "./support/nodes.ts";

describe("uninstallation", { timeout: 600_000 }, () => {
  const cluster = new Cluster();

  it("leaves every node as it was found", { skip: NO_HAND_ON_NODES }, async () => {
    const found = JSON.parse(readFileSync(INVENTORY_FILE, "utf8")) as Record<string, string[]>;
    rmSync(INVENTORY_FILE);
    await cluster.kubectl(["delete", "-k", ENVIRONMENT.overlay, "--wait"], { timeoutMs: 240_000 });
    for (const [node, before] of Object.entries(found)) {
      await eventually(
        `${node} to be as it was`,
        async () => {
          const now = await takeInventory(node);
          const differs = [
            ...now.filter(each => !before.includes(each)).map(each => `left: ${each}`),
            ...before.filter(each => !now.includes(each)).map(each => `gone: ${each}`),
          ];
          return expect(differs.length === 0, () => differs.join("\n"));
        },
        60_000,
      );
    }
  });

  it("removes everything from the cluster", async () => {
    await cluster.kubectl(["delete", "-k", ENVIRONMENT.overlay, "--ignore-not-found", "--wait"], {
      timeoutMs: 240_000,
    });
    assert.equal(await cluster.find("namespaces", undefined, SYSTEM), undefined);
  });
});
