import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readInteger, readMap, readText, readUuid, readUuids } from "../../../cni/datapath/ovsdb/value.ts";

describe("OVSDB values", () => {
  it("reads a set of one as its element, an empty set and an absent column as nothing", () => {
    assert.equal(readInteger({ tag: 100 }, "tag"), 100);
    assert.equal(readInteger({ tag: ["set", []] }, "tag"), undefined);
    assert.equal(readInteger({}, "tag"), undefined);
    assert.equal(readText({ error: ["set", []] }, "error"), "");
    assert.equal(readText({ error: "no such device" }, "error"), "no such device");
    assert.deepEqual(readUuids({ ports: ["uuid", "a"] }, "ports"), ["a"]);
    assert.deepEqual(
      readUuids(
        {
          ports: [
            "set",
            [
              ["uuid", "a"],
              ["uuid", "b"],
            ],
          ],
        },
        "ports",
      ),
      ["a", "b"],
    );
  });

  it("reads maps of strings", () => {
    assert.deepEqual(
      readMap(
        {
          ids: [
            "map",
            [
              ["a", "1"],
              ["b", "2"],
            ],
          ],
        },
        "ids",
      ),
      { a: "1", b: "2" },
    );
    assert.deepEqual(readMap({ ids: ["map", []] }, "ids"), {});
  });

  it("names the column whose value is of another type", () => {
    const cases: [() => unknown, string][] = [
      [() => readInteger({ tag: "100" }, "tag"), 'column tag should be an integer, but is "100"'],
      [() => readText({ name: 7 }, "name"), "column name should be a string, but is 7"],
      [() => readUuid({ _uuid: "a" }), 'column _uuid should be a UUID, but is "a"'],
      [() => readMap({ ids: ["set", []] }, "ids"), 'column ids should be a map, but is ["set",[]]'],
      [
        () => readMap({ ids: ["map", [["a", 1]]] }, "ids"),
        'column ids should be a map of strings, but is ["map",[["a",1]]]',
      ],
      [() => readUuids({ ports: ["set", "x"] }, "ports"), 'column ports should be a set, but is ["set","x"]'],
    ];
    for (const [read, message] of cases) assert.throws(read, { message });
  });
});
