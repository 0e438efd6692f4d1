import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatIp, parseCidr, parseIp } from "../../../cni/datapath/kernel/ip-bytes.ts";

describe("IP addresses as bytes", () => {
  it("parses every notation of RFC 4291 section 2.2", () => {
    const cases: [string, string][] = [
      ["10.100.1.2", "0a640102"],
      ["255.255.255.255", "ffffffff"],
      ["::", "0".repeat(32)],
      ["::1", `${"0".repeat(31)}1`],
      ["fe80::", `fe80${"0".repeat(28)}`],
      ["2001:db8::8:800:200c:417a", "20010db80000000000080800200c417a"],
      ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
      ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"],
      ["::ffff:192.0.2.33", "00000000000000000000ffffc0000221"],
      ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"],
      ["FD00:100::ABCD", "fd00010000000000000000000000abcd"],
    ];
    for (const [text, hex] of cases) assert.equal(parseIp(text)?.toString("hex"), hex, text);
  });

  it("returns undefined for text that is not an address", () => {
    for (const text of ["", "10.1.2", "10.1.2.300", "1:2:3", "fe80::1%eth0", "10.0.0.0/8", "host", ":::", "1::2::3"]) {
      assert.equal(parseIp(text), undefined, text);
    }
  });

  it("clears host bits of a CIDR", () => {
    const text = (cidr: string) => {
      const parsed = parseCidr(cidr);
      return parsed && `${formatIp(parsed.bytes)}/${parsed.prefixLength}`;
    };
    assert.equal(text("10.100.255.7/12"), "10.96.0.0/12");
    assert.equal(text("0.0.0.0/0"), "0.0.0.0/0");
    assert.equal(text("10.1.2.3/32"), "10.1.2.3/32");
    assert.equal(text("fd00:1ff::1/23"), "fd00:0:0:0:0:0:0:0/23");
    assert.equal(text("::/0"), "0:0:0:0:0:0:0:0/0");
    for (const bad of [
      "10.0.0.0",
      "10.0.0.0/33",
      "::/129",
      "10.0.0.0/8/8",
      "10.0.0.0/",
      "10.0.0.0/-1",
      "10.0.0.0/1e1",
    ]) {
      assert.equal(text(bad), undefined, bad);
    }
  });
});
