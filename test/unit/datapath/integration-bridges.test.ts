import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deriveIntegrationBridges, findIntegrationBridge } from "../../../cni/datapath/bridges/integration-bridges.ts";

const derive = (...mappings: [string, string][]) =>
  deriveIntegrationBridges(
    "br-int",
    mappings.map(([physicalNetwork, bridge]) => ({ physicalNetwork, bridge })),
  );

describe("integration bridges", () => {
  it("are one for every physical network while none is mapped", () => {
    const bridges = derive();
    assert.deepEqual(bridges, [{ name: "br-int" }]);
    assert.equal(findIntegrationBridge(bridges, "physnet1"), "br-int");
  });

  it("are the configured one for the first mapping, and one for each other", () => {
    const bridges = derive(["blue", "br-blue"], ["red", "br-red"]);
    assert.deepEqual(
      bridges.map(({ name, provider }) => [name, provider]),
      [
        ["br-int", "br-blue"],
        ["br-int-red", "br-red"],
      ],
    );
    assert.equal(findIntegrationBridge(bridges, "red"), "br-int-red");
    assert.equal(findIntegrationBridge(bridges, "green"), undefined);
  });

  it("have names of 15 characters at most that stay the same and differ", () => {
    const long = derive(["a", "br-a"], ["physnet2", "br-b"], ["physical-2", "br-c"], ["physical-3", "br-d"]);
    const names = long.map(({ name }) => name);
    assert.deepEqual(names, ["br-int", "br-int-physnet2", "br-int-p-3a5f4b", "br-int-p-7bed5e"]);
  });

  it("may be the provider bridge themselves", () => {
    assert.deepEqual(
      derive(["blue", "br-int"], ["red", "br-red"]).map(({ name }) => name),
      ["br-int", "br-int-red"],
    );
  });

  it("are refused where two physical networks would share a bridge", () => {
    const cases: [[string, string][], RegExp][] = [
      [
        [
          ["blue", "br-blue"],
          ["red", "br-int"],
        ],
        /joins the physical networks blue and red, .* need bridge br-int$/,
      ],
      [
        [
          ["blue", "br-int-red"],
          ["red", "br-red"],
        ],
        /joins the physical networks blue and red, .* bridge br-int-red$/,
      ],
    ];
    for (const [mappings, message] of cases) assert.throws(() => derive(...mappings), message);
  });
});
