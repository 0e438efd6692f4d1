import assert from "node:assert/strict";
import { test } from "node:test";
import { findNearest } from "../../../cni/spec/nearest.ts";
import { parseRetention } from "../../../cni/spec/retention.ts";

test("a misspelling finds what was meant, another word finds nothing", () => {
  const keys = ["bridge", "ipamServer", "agentSocket", "mtu"];
  for (const [word, found] of [
    ["brigde", "bridge"],
    ["ipamserver", "ipamServer"],
    ["ipam_server", "ipamServer"],
    ["MTU", "mtu"],
    ["xyzzy", undefined],
  ] as const) {
    assert.equal(findNearest(word, keys), found, word);
  }
});

test("a retention is a policy or the time an unbound port is kept", () => {
  for (const [text, seconds] of [
    ["90s", 90],
    ["24h", 86_400],
    ["1h30m", 5400],
    ["7d", 604_800],
  ] as const) {
    assert.deepEqual(parseRetention(text, "retain"), { policy: "sticky", ttlSeconds: seconds });
  }
  for (const bad of ["", "1", "h", "1w", "-1h", "1.5h", "0s", 3600, null]) {
    assert.throws(() => parseRetention(bad, "retain"), /"retain" takes "ephemeral", "sticky" or a duration/);
  }
});
