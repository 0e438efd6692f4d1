import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deriveAlias, deriveHostInterfaces, deriveHostMac } from "../../../cni/datapath/interface-name.ts";

describe("host interface names", () => {
  const id = (n: number) => n.toString(16).padStart(64, "0");

  it("are stable, so that this version finds an older one's links", () => {
    assert.deepEqual(deriveHostInterfaces("sandbox", "eth0"), [
      "moorqutbcabjsk0",
      "moorusord2q9p55",
      "moork2u3h1m3pfn",
      "moore4q4pf3l2jp",
    ]);
    assert.equal(deriveAlias("sandbox", "eth0"), "mooring:sandbox/eth0");
  });

  it("are 15 characters that the kernel and OVS accept", () => {
    for (let n = 0; n < 100; n++) {
      for (const name of deriveHostInterfaces(id(n), "eth0")) assert.match(name, /^moor[0-9a-v]{11}$/);
    }
  });

  it("differ by sandbox, by interface and by attempt", () => {
    const names = Array.from({ length: 20_000 }, (_, n) => [id(n >> 1), n % 2 === 0 ? "eth0" : "net1"] as const);
    const derived = names.flatMap(([sandbox, name]) => deriveHostInterfaces(sandbox, name));
    assert.equal(new Set(derived).size, derived.length);
  });

  it("carry a locally administered unicast MAC, higher than hardware's", () => {
    assert.match(deriveHostMac("moor0123456789a"), /^fe(:[0-9a-f]{2}){5}$/);
    assert.notEqual(deriveHostMac("moor0123456789a"), deriveHostMac("moor0123456789b"));
  });
});
