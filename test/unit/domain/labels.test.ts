import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError, type Labels } from "../../../ipam-server/contract/index.ts";
import { validateLabels } from "../../../ipam-server/domain/model/labels.ts";

const good: Labels[] = [
  {},
  { env: "prod", tier: "" },
  { "example.com/role": "web-1.2_x" },
  { "0.1.2.domain/99": "1234" },
  { [`${"a".repeat(63)}`]: "v".repeat(63) },
  { [`${"abc.".repeat(62)}com/${"a".repeat(63)}`]: "x" },
  { MyName: "Value", "kubernetes.io/a.b_c-d": "A" },
];

const bad: [key: string, value: string, expected: RegExp][] = [
  ["", "x", /1 to 63/],
  ["a".repeat(64), "x", /1 to 63/],
  ["-env", "x", /beginning and ending/],
  ["env-", "x", /beginning and ending/],
  ["en v", "x", /label key/],
  ["a/b/c", "x", /after "\/"/],
  ["/name", "x", /DNS subdomain/],
  ["example.com/", "x", /after "\/"/],
  ["Example.com/a", "x", /lower-case DNS subdomain/],
  [`${"a".repeat(254)}/a`, "x", /at most 253/],
  ["env", "v".repeat(64), /label value: empty, or 1 to 63/],
  ["env", "-x", /label value/],
  ["env", "x.", /label value/],
  ["env", "a b", /label value/],
  ["env", "é", /label value/],
];

describe("validateLabels", () => {
  it("accepts labels of the Kubernetes syntax", () => {
    for (const labels of good) validateLabels(labels, "metadata.labels");
  });

  it("rejects an invalid label with its field, the value and what is accepted", () => {
    for (const [key, value, expected] of bad) {
      assert.throws(
        () => validateLabels({ fine: "yes", [key]: value }, "metadata.labels"),
        (error: unknown) => {
          assert.ok(error instanceof IpamError);
          assert.equal(error.code, "invalid_request");
          assert.equal(error.details.field, `metadata.labels.${key}`);
          assert.match(error.message, expected);
          assert.ok(error.message.startsWith(`metadata.labels.${key} `), error.message);
          assert.ok(
            [key, value].some(given => error.message.includes(JSON.stringify(given))),
            error.message,
          );
          return true;
        },
        `${key}=${value}`,
      );
    }
  });
});
