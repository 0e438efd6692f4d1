import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  findRange,
  formatAddress,
  parseAddress,
  parseCidr,
  subtractRanges,
} from "../../../ipam-server/domain/model/address.ts";

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

  const range = (first: number, last: number) => ({ first: BigInt(first), last: BigInt(last) });

  it("subtracts one range from several, and several from one", () => {
    assert.deepEqual(subtractRanges([range(0, 9), range(20, 29), range(40, 49)], [range(5, 44)]), [
      range(0, 4),
      range(45, 49),
    ]);
    assert.deepEqual(subtractRanges([range(0, 9), range(20, 29)], [range(2, 3), range(5, 22), range(24, 24)]), [
      range(0, 1),
      range(4, 4),
      range(23, 23),
      range(25, 29),
    ]);
  });

  it("finds the range of a value", () => {
    const ranges = [range(0, 4), range(6, 6), range(8, 20)];
    const found = [0n, 4n, 5n, 6n, 7n, 8n, 20n, 21n].map(value => findRange(ranges, value));
    const [a, b, c] = ranges;
    assert.deepEqual(found, [a, a, undefined, b, undefined, c, c, undefined]);
  });

  it("subtracts ranges and returns the rest sorted, disjoint and complete", () => {
    const pools = [range(20, 30), range(0, 9), range(10, 12)];
    assert.deepEqual(subtractRanges(pools, []), [range(0, 12), range(20, 30)]);
    assert.deepEqual(subtractRanges(pools, [range(0, 0), range(5, 6), range(6, 21), range(30, 40)]), [
      range(1, 4),
      range(22, 29),
    ]);
    assert.deepEqual(subtractRanges(pools, [range(0, 30)]), []);
  });
});
