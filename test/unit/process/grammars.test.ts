import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseRetention } from "../../../cni/spec/retention.ts";
import { parseBridgeMappings } from "../../../ipam-server/process/bridge-mappings.ts";
import { parseClusterName } from "../../../ipam-server/process/cluster-name.ts";
import { parseDuration } from "../../../ipam-server/process/duration.ts";
import { findNearest } from "../../../ipam-server/process/nearest-word.ts";
import { parseServerUrl } from "../../../ipam-server/process/server-url.ts";
import { parseSize } from "../../../ipam-server/process/size.ts";

describe("parseDuration", () => {
  it("accepts units in descending order, each at most once", () => {
    const accepted = { "500ms": 500, "0s": 0, "60s": 60_000, "24h": 864e5, "1h30m": 54e5, "1d2h3m4s5ms": 93_784_005 };
    for (const [text, ms] of Object.entries(accepted)) assert.equal(parseDuration(text), ms, text);
  });

  it("rejects other orders, repeated or missing units, signs, fractions and spaces", () => {
    for (const text of ["", "60", "s", "30m1h", "1h1h", "1w", "-1h", "1.5h", "1h 30m", "1H", "+1s"]) {
      assert.equal(parseDuration(text), undefined, text);
    }
  });

  it("accepts at most ten years", () => {
    assert.equal(parseDuration("3650d"), 3650 * 864e5);
    for (const text of ["3651d", "3650d1ms", "999999999d"]) assert.equal(parseDuration(text), undefined, text);
  });
});

describe("parseSize", () => {
  it("accepts whole MiB, GiB and TiB", () => {
    const accepted = { "1MiB": 2 ** 20, "512MiB": 512 * 2 ** 20, "20GiB": 20 * 2 ** 30, "1TiB": 2 ** 40 };
    for (const [text, bytes] of Object.entries(accepted)) assert.equal(parseSize(text), bytes, text);
  });

  it("rejects zero, fractions, other units and bare numbers", () => {
    for (const text of ["", "0GiB", "1.5GiB", "10", "10GB", "10Gi", "1 GiB", "-1GiB", "1gib"]) {
      assert.equal(parseSize(text), undefined, text);
    }
  });
});

describe("parseRetention", () => {
  it("accepts a policy or a duration of whole seconds", () => {
    assert.deepEqual(parseRetention("ephemeral"), { policy: "ephemeral" });
    assert.deepEqual(parseRetention("sticky"), { policy: "sticky" });
    for (const [text, ttlSeconds] of Object.entries({ "90s": 90, "24h": 86_400, "1h30m": 5400, "7d": 604_800 })) {
      assert.deepEqual(parseRetention(text), { policy: "sticky", ttlSeconds }, text);
    }
  });

  it("rejects zero, parts of a second and what is no duration", () => {
    for (const text of ["0s", "500ms", "1s500ms", "30m1h", "forever", "", "Sticky"]) {
      assert.equal(parseRetention(text), undefined, text);
    }
  });
});

describe("parseClusterName", () => {
  it("accepts what the API accepts as a cluster", () => {
    for (const name of ["a", "c1", "prod.eu-1_x", "A".repeat(63)]) assert.equal(parseClusterName(name), name);
  });

  it("rejects separators of port names, other characters and lengths", () => {
    for (const name of ["", "a:b", "a/b", "a@b", "a b", "-a", "a.", "A".repeat(64), "é"]) {
      assert.equal(parseClusterName(name), undefined, name);
    }
  });
});

describe("parseBridgeMappings", () => {
  it("parses pairs and ignores spaces around them", () => {
    assert.deepEqual(parseBridgeMappings("physnet1:br-bond, physnet2:br-data"), [
      { physicalNetwork: "physnet1", bridge: "br-bond" },
      { physicalNetwork: "physnet2", bridge: "br-data" },
    ]);
  });

  it("rejects half pairs, other characters, and a network or bridge named twice", () => {
    for (const text of ["", "a", "a:", ":b", "a:b:c", "a:b,", "a:b,a:c", "a:b,c:b", "a/1:b", "a 1:b"]) {
      assert.equal(parseBridgeMappings(text), undefined, text);
    }
  });
});

describe("parseServerUrl", () => {
  it("parses hosts, IPv6 addresses, default ports and base paths", () => {
    const facts = (text: string) => {
      const { isSecure, address, basePath } = parseServerUrl(text) ?? assert.fail(text);
      return [isSecure, address, basePath];
    };
    assert.deepEqual(facts("http://127.0.0.1:7070"), [false, { host: "127.0.0.1", port: 7070 }, ""]);
    assert.deepEqual(facts("https://[::1]/"), [true, { host: "::1", port: 443 }, ""]);
    assert.deepEqual(facts("http://a/ipam/"), [false, { host: "a", port: 80 }, "/ipam"]);
    assert.deepEqual(facts("unix:/run/ipam.sock"), [false, { socketPath: "/run/ipam.sock" }, ""]);
    assert.equal(parseServerUrl("http://a:70//")?.text, "http://a:70");
  });

  it("rejects other schemes, queries, credentials and half addresses", () => {
    const rejected = ["", "node-a:7070", "ftp://a", "http:a", "http://", "http://a?x=1", "http://a#b", "http://u:p@a"];
    for (const text of [...rejected, "http://a b", "unix:", "unix:relative", "http://a:99999"]) {
      assert.equal(parseServerUrl(text), undefined, text);
    }
  });
});

describe("findNearest", () => {
  it("finds the word that a misspelling means, ignoring case", () => {
    const keys = ["bridge", "ipamServer", "agentSocket", "mtu"];
    const misspelled = { brigde: "bridge", ipamserver: "ipamServer", ipam_server: "ipamServer", MTU: "mtu" };
    for (const [word, found] of Object.entries(misspelled)) assert.equal(findNearest(word, keys), found, word);
  });

  it("finds nothing for another word", () => {
    assert.equal(findNearest("xyzzy", ["bridge", "ipamServer", "agentSocket", "mtu"]), undefined);
  });
});
