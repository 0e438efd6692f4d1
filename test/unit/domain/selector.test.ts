import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError, type Labels } from "../../../ipam-server/contract/index.ts";
import { matches, parseSelector, type Requirement, type Selector } from "../../../ipam-server/domain/model/selector.ts";

/** The examples of the Kubernetes documentation's page "Labels and Selectors": what each selects and does not select. */
const documented: [selector: string, selected: Labels[], others: Labels[]][] = [
  ["environment = production", [{ environment: "production" }], [{ environment: "qa" }, {}]],
  ["tier != frontend", [{ tier: "backend" }, {}], [{ tier: "frontend" }]],
  [
    "environment=production,tier!=frontend",
    [{ environment: "production", tier: "cache" }, { environment: "production" }],
    [{ environment: "production", tier: "frontend" }, { tier: "cache" }],
  ],
  [
    "environment in (production, qa)",
    [{ environment: "production" }, { environment: "qa" }],
    [{ environment: "dev" }, {}],
  ],
  ["tier notin (frontend, backend)", [{ tier: "cache" }, {}], [{ tier: "frontend" }, { tier: "backend" }]],
  ["partition", [{ partition: "" }, { partition: "customerA" }], [{}, { environment: "qa" }]],
  ["!partition", [{}, { environment: "qa" }], [{ partition: "customerA" }]],
  [
    "partition,environment notin (qa)",
    [{ partition: "a" }, { partition: "a", environment: "production" }],
    [{ partition: "a", environment: "qa" }, { environment: "production" }],
  ],
  [
    "partition in (customerA, customerB),environment!=qa",
    [{ partition: "customerA" }, { partition: "customerB", environment: "dev" }],
    [{ partition: "customerC" }, { partition: "customerA", environment: "qa" }],
  ],
  ["environment=production,tier=frontend", [{ environment: "production", tier: "frontend" }], [{ tier: "frontend" }]],
  [
    "environment in (production),tier in (frontend)",
    [{ environment: "production", tier: "frontend" }],
    [{ environment: "production" }],
  ],
];

/** The table of k8s.io/apimachinery's own selector tests: the canonical form of each valid selector. */
const parsed: [selector: string, canonical: string][] = [
  ["x=a,y=b,z=c", "x=a,y=b,z=c"],
  ["", ""],
  ["x!=a,y=b", "x!=a,y=b"],
  ["x=", "x="],
  ["x= ", "x="],
  ["x=,z= ", "x=,z="],
  ["x= ,z= ", "x=,z="],
  ["!x", "!x"],
  ["x>1", "x>1"],
  ["x>1,z<5", "x>1,z<5"],
  ["x=a,a=x", "a=x,x=a"],
  ["\rx", "x"],
  ["this-is-a-dns.domain.com/key-with-dash", "this-is-a-dns.domain.com/key-with-dash"],
  [
    "this-is-another-dns.domain.com/key-with-dash in (so,what)",
    "this-is-another-dns.domain.com/key-with-dash in (so,what)",
  ],
  ["0.1.2.domain/99 notin (10.10.100.1, tick.tack.clock)", "0.1.2.domain/99 notin (10.10.100.1,tick.tack.clock)"],
  ["foo  in\t (abc)", "foo in (abc)"],
  ["x notin\n (abc)", "x notin (abc)"],
  ["x  notin\t\t\t(abc,def)", "x notin (abc,def)"],
  ["x in (def,abc,def)", "x in (abc,def)"],
  ["x in (abc,)", "x in (,abc)"],
  ["x in ()", "x in ()"],
  ["x in (,)", "x in ()"],
  ["x in (foo,,baz),y,z notin ()", "x in (,baz,foo),y,z notin ()"],
  ["x notin (abc,,def),bar,z in (),w", "bar,w,x notin (,abc,def),z in ()"],
  ["x,y in (a)", "x,y in (a)"],
  ["x=a,y!=b", "x=a,y!=b"],
  ["x==a", "x==a"],
  ["x=a,y!=b,z in (h,i,j)", "x=a,y!=b,z in (h,i,j)"],
  ["notin=in", "notin=in"],
  ["in in (in,notin)", "in in (in,notin)"],
  ["in,notin,!in", "in,!in,notin"],
  ["x notin ( )", "x notin ()"],
  ["x in (a,,)", "x in (,a)"],
  ["x notin (, a)", "x notin (,a)"],
  ["a ", "a"],
  ["a in (x,y,notin, z,in)", "a in (in,notin,x,y,z)"],
  ["x=abc,y==jkl,z!=a,z", "x=abc,y==jkl,z!=a,z"],
  ["  ", ""],
  ["\t! x ,y = 1\n", "!x,y=1"],
];

const refused: [selector: string, position: number, expected: RegExp][] = [
  ["x=a||y=b", 3, /label value/],
  ["x==a==b", 5, /"," or the end/],
  ["!x=a", 3, /"," or the end/],
  ["!x in (a)", 4, /"," or the end/],
  ["x<a", 3, /integer/],
  ["x>", 3, /integer/],
  ["x>-1", 3, /integer/],
  ["x<9223372036854775808", 3, /integer/],
  ["x<=1", 3, /integer/],
  ["x in (a", 8, /"," or "\)"/],
  ["x in a", 6, /"\("/],
  ["x in", 5, /"\("/],
  ["x in (a b)", 9, /"," or "\)"/],
  ["x in (a=b)", 8, /"," or "\)"/],
  ["x in (a))", 9, /"," or the end/],
  ["x in (a)y", 9, /"," or the end/],
  ["x=a b", 5, /"," or the end/],
  ["x y", 3, /"=".*"notin"/],
  ["x!", 2, /"=".*"notin"/],
  ["x=!a", 3, /label value/],
  [",", 1, /label key/],
  [",x,y", 1, /label key/],
  ["x nott in (y)", 3, /"=".*"notin"/],
  ["a in (xyz),", 12, /label key/],
  ["a in (xyz)b notin ()", 11, /"," or the end/],
  ["a notin(", 9, /"," or "\)"/],
  ["a (", 3, /"=".*"notin"/],
  ["(", 1, /label key/],
  ["x,", 3, /label key/],
  ["x,,y", 3, /label key/],
  ["!", 2, /label key/],
  ["!!x", 2, /label key/],
  ["=a", 1, /label key/],
  ["(x)", 1, /label key/],
  ["-x", 1, /label key/],
  ["a/b/c=d", 1, /after "\/"/],
  [`${"a".repeat(254)}`, 1, /1 to 63/],
  [`x=${"a".repeat(64)}`, 3, /1 to 63/],
  ["Prefix/x", 1, /DNS subdomain/],
  ["x in (a,b*)", 9, /label value/],
  ["함=수", 1, /label key/],
];

describe("label selectors", () => {
  it("select the labels that the Kubernetes documentation says", () => {
    for (const [text, selected, others] of documented) {
      const selector = parseSelector(text);
      for (const labels of selected) assert.ok(matches(selector, labels), `${text} on ${JSON.stringify(labels)}`);
      for (const labels of others) assert.ok(!matches(selector, labels), `${text} not on ${JSON.stringify(labels)}`);
    }
  });

  it("match and miss as in Kubernetes' own tests", () => {
    const table: [string, Labels, boolean][] = [
      ["", { x: "y" }, true],
      ["", {}, true],
      ["x=y,z=w", { x: "y", z: "w" }, true],
      ["x!=y,z!=w", { x: "z", z: "a" }, true],
      ["notin=in", { notin: "in" }, true],
      ["x", { x: "z" }, true],
      ["!x", { y: "z" }, true],
      ["x>1", { x: "2" }, true],
      ["x<1", { x: "0" }, true],
      ["x=z", {}, false],
      ["x=", {}, false],
      ["x=", { x: "" }, true],
      ["x=y", { x: "z" }, false],
      ["x=y,z=w", { x: "w", z: "w" }, false],
      ["x!=y,z!=w", { x: "z", z: "w" }, false],
      ["x!=", { x: "" }, false],
      ["x", { y: "z" }, false],
      ["!x", { x: "z" }, false],
      ["x>1", { x: "0" }, false],
      ["x>1", { x: "1" }, false],
      ["x<1", { x: "2" }, false],
      ["x>1", {}, false],
      ["z>1", { z: "v2" }, false],
      ["x>9223372036854775806", { x: "9223372036854775807" }, true],
      ["x>1", { x: "9223372036854775808" }, false],
      ["foo=bar,foobar=bar,baz=blah", { foo: "bar", baz: "blah" }, false],
      ["x notin (),y", { y: "" }, true],
      ["x notin (),!y", { y: "" }, false],
      ["x in ()", { y: "baz" }, false],
      ["x in (a,)", { x: "" }, true],
      ["constructor", {}, false],
      ["!constructor", {}, true],
    ];
    for (const [text, labels, expected] of table) {
      assert.equal(matches(parseSelector(text), labels), expected, `${text} on ${JSON.stringify(labels)}`);
    }
  });

  it("parse as in Kubernetes and print in a canonical form that parses the same", () => {
    for (const [text, canonical] of parsed) {
      const selector = parseSelector(text);
      assert.equal(formatSelector(selector), canonical, text);
      assert.deepEqual(parseSelector(formatSelector(selector)), selector, text);
    }
  });

  it("are rejected with the text, the position and what was expected", () => {
    for (const [text, position, expected] of refused) {
      assert.throws(
        () => parseSelector(text),
        (error: unknown) => {
          assert.ok(error instanceof IpamError, text);
          assert.equal(error.code, "invalid_request");
          assert.ok(error.message.includes(JSON.stringify(text)), error.message);
          assert.ok(error.message.includes(`at position ${position};`), error.message);
          assert.match(error.message.slice(error.message.indexOf("expected")), expected);
          return true;
        },
        text,
      );
    }
  });

  /** The selector in its canonical form: sorted, without optional white space. */
  function formatSelector(selector: Selector): string {
    return selector.requirements.map(formatRequirement).join(",");
  }

  function formatRequirement({ key, operator, values }: Requirement): string {
    if (operator === "exists") return key;
    if (operator === "!") return `!${key}`;
    if (operator === "in" || operator === "notin") return `${key} ${operator} (${values.join(",")})`;
    return `${key}${operator}${values.join(",")}`;
  }
});
