import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Harness } from "./harness.ts";

/** Edits of the network configuration since the ADD; each makes an ADD fail. */
const EDITS: Record<string, Record<string, unknown>> = {
  "an unknown key": { colour: "red" },
  "a MAC that is none": { runtimeConfig: { mac: "red" } },
  "an address that is none": { args: { cni: { ips: ["10.100.1"] } } },
  "a small MTU": { mtu: 100 },
  "a wrong retention": { retain: "for ever" },
  "a selector that is no text": { networkSelector: 7 },
  "an unknown family": { families: ["ipx"] },
  "wrong bridge mappings": { bridgeMappings: "physnet1" },
  "a delegated IPAM": { ipam: { type: "host-local" } },
  "a damaged prevResult": { prevResult: "none" },
  "no type": { type: undefined },
  "a bridge that is no name": { bridge: 7 },
  "a time-out of no use": { timeoutMs: 1 },
};

describe("DEL and GC after an edit of the network configuration", () => {
  for (const [what, edit] of Object.entries(EDITS)) {
    it(`remove and release the pod despite ${what}`, async () => {
      await using harness = await Harness.start();
      await harness.succeed("ADD");
      await harness.fail("ADD", edit);
      await harness.succeed("DEL", edit);
      assert.equal(harness.node.plugged.size, 0);
      assert.equal(harness.ipam.releases.length, 1);

      await harness.succeed("ADD");
      await harness.succeed("GC", { ...edit, "cni.dev/valid-attachments": [] });
      assert.equal(harness.node.plugged.size, 0);
      assert.equal(harness.ipam.releases.length, 2);
    });
  }

  for (const [what, edit] of Object.entries({
    "no cluster": { cluster: undefined },
    "a server that is no URL": { ipamServer: "ipam:7070" },
    "both upstreams": { agentSocket: "/run/mooring/agent.sock" },
    "no upstream": { ipamServer: undefined },
  })) {
    it(`remove the pod and journal its release with ${what}`, async () => {
      await using harness = await Harness.start();
      await harness.succeed("ADD");
      await harness.succeed("DEL", edit);
      assert.equal(harness.node.plugged.size, 0);
      assert.equal((await harness.journaled()).length, 1);
      await harness.succeed("ADD", {}, { CNI_CONTAINERID: "sandbox-2" });
      assert.equal(harness.ipam.releases.length, 1, "the next call that reaches the IPAM delivers it");
    });
  }
});

describe("GC's list of attachments", () => {
  for (const key of ["cni.dev/valid-attachments", "cni.dev/attachments"]) {
    it(`is empty when ${key} is null, as a Go runtime writes it`, async () => {
      await using harness = await Harness.start();
      await harness.succeed("ADD");
      await harness.succeed("GC", { [key]: null });
      assert.equal(harness.node.plugged.size, 0);
      assert.equal(harness.ipam.releases.length, 1);
    });
  }

  it("removes nothing when it is damaged", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    const error = await harness.fail("GC", { "cni.dev/valid-attachments": [{ containerID: "sandbox-1" }] });
    assert.match(error.msg, /valid-attachments\[0\]\.ifname/);
    assert.equal(harness.node.plugged.size, 1);
  });
});
