import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAddress, parseAddress, parseCidr, subtractRanges } from "../../../ipam-server/domain/model/address.ts";

describe("addresses and ranges", () => {
  it("parses only complete addresses and formats them canonically", () => {
    for (const [text, canonical] of [
      ["10.0.0.7", "10.0.0.7"],
      ["255.255.255.255", "255.255.255.255"],
      ["FD00:0:0::0001", "fd00::1"],
      ["::", "::"],
      ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ] as const) {
      const address = parseAddress(text);
      assert.ok(address, text);
      assert.equal(formatAddress(address.version, address.value), canonical);
    }
    for (const text of ["", "10.0.0", "10.0.0.256", "0x0a.0.0.1", "10.0.0.1/24", "fe80::1%eth0", "1:2", "10.0.0.7 "]) {
      assert.equal(parseAddress(text), undefined, text);
    }
  });

  it("suggests the network's CIDR when host bits are set", () => {
    assert.deepEqual(parseCidr("10.0.0.9/29"), { meant: "10.0.0.8/29" });
    assert.deepEqual(parseCidr("fd00::1/64"), { meant: "fd00::/64" });
    for (const text of ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "fd00::/129", "/24"]) {
      assert.equal(parseCidr(text), undefined, text);
    }
    const cidr = parseCidr("FD00:0:0:1::/64");
    assert.ok(cidr && "base" in cidr);
    assert.deepEqual([cidr.text, cidr.count], ["fd00:0:0:1::/64", 1n << 64n]);
  });

  it("subtracts ranges and returns the rest sorted, disjoint and complete", () => {
    const range = (first: number, last: number) => ({ first: BigInt(first), last: BigInt(last) });
    const pools = [range(20, 30), range(0, 9), range(10, 12)];
    assert.deepEqual(subtractRanges(pools, []), [range(0, 12), range(20, 30)]);
    assert.deepEqual(subtractRanges(pools, [range(0, 0), range(5, 6), range(6, 21), range(30, 40)]), [
      range(1, 4),
      range(22, 29),
    ]);
    assert.deepEqual(subtractRanges(pools, [range(0, 30)]), []);
  });
});
