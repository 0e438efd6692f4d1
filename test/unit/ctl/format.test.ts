import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAge } from "../../../ipam-server/ctl/output/age.ts";
import { formatCount, formatRetention, formatShare } from "../../../ipam-server/ctl/output/format.ts";
import { Table } from "../../../ipam-server/ctl/output/table.ts";

describe("output format", () => {
  it("formats ages as kubectl does", () => {
    const minute = 60_000;
    const ages = [-5, 0, 119_999, 2 * minute, 3 * minute + 20_000, 20 * minute, 179 * minute, 181 * minute].map(
      formatAge,
    );
    assert.deepEqual(ages, ["0s", "0s", "119s", "2m", "3m20s", "20m", "179m", "3h1m"]);
    assert.deepEqual(
      [24, 48, 24 * 400].map(hours => formatAge(hours * 60 * minute)),
      ["24h", "2d", "400d"],
    );
  });

  it("formats a retention with its time to live", () => {
    assert.equal(formatRetention({ policy: "ephemeral" }), "ephemeral");
    assert.equal(formatRetention({ policy: "sticky", ttlSeconds: 86_400 }), "sticky for 24h");
  });

  it("formats counts above a billion in powers of ten", () => {
    assert.equal(formatCount("999999999"), "999999999");
    assert.equal(formatCount("18446744073709551614"), "~1.8e19");
  });

  it("formats exact shares of large subnets, never rounded down to 0%", () => {
    assert.equal(formatShare({ held: 0, size: "100", freed: 0 }), "0%");
    assert.equal(formatShare({ held: 999, size: "1000", freed: 0 }), "99.9%");
    assert.equal(formatShare({ held: 1, size: "18446744073709551614", freed: 0 }), "<0.1%");
    assert.equal(formatShare({ held: 0, size: "0", freed: 0 }), "0%");
    assert.equal(formatShare({ held: 1, size: "0", freed: 0 }), "100%");
  });

  it("never narrows a table's columns from page to page", () => {
    const table = new Table<[string, string]>([
      { header: "A", cell: ([a]) => a },
      { header: "B", cell: ([, b]) => b },
    ]);
    assert.equal(table.format([["long", "1"]]), "A      B\nlong   1\n");
    assert.equal(table.format([["s", ""]]), "s      <none>\n");
  });
});
