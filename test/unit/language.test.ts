import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

/**
 * Holds the project's plain English: words that are not written, the length of test names and of lines of text. A word
 * that a review finds is added here with what to write instead.
 */
const ROOT = join(import.meta.dirname, "../..");
const SELF = "test/unit/language.test.ts";
const MAX_TEST_NAME = 80;
const MAX_LINE = 120;

/** Matched against whole words, identifiers taken apart: `isWhole` has the word "whole". */
const BANNED: [RegExp, string][] = [
  [/anew/, "again"],
  [/nobody|whoever/, "no client, the caller"],
  [/whatever/, "any"],
  [/wish(es)?/, "request"],
  [/told|tells?|telling/, "reported, notified, says"],
  [/hear|hears|heard/, "received"],
  [/prolong(s|ed|ing)?/, "renew"],
  [/doom(ed|s)?/, "pending deletion"],
  [/farewell|goodbye/, "close"],
  [/newcomers?/, "pending connections"],
  [/takings?/, "assignments"],
  [/forgo(es)?/, "cancel"],
  [/judges?|judged/, "classify"],
  [/verdicts?/, "decision"],
  [/housekeeping/, "maintenance"],
  [/patience/, "retries, a deadline"],
  [/(give|gives|gave|giving|given) back/, "release, return, reclaim"],
  [/(take|takes|took|taking|taken) away/, "remove, release"],
  [/(go|goes|went|going) on/, "continue"],
  [/silence(s|d)?|silencing/, "disconnect"],
];
/** The Kubernetes API, OVS and the CNI specification have words of their own. */
const ALLOWED: RegExp[] = [/MOORING_TEST_PATIENCE_MS/];

const tracked = execFileSync("git", ["ls-files"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const isText = (file: string): boolean =>
  file !== SELF && file !== "LICENSE" && file !== "package-lock.json" && !/\.(svg|png)$/.test(file);

/** "isWholeThing" and "IS_WHOLE" as the words that they are made of. */
function splitWords(line: string): string {
  return line
    .replace(/([a-z\d])([A-Z])/g, "$1 $2")
    .replace(/_/g, " ")
    .toLowerCase();
}

function findBanned(line: string): string | undefined {
  if (ALLOWED.some(pattern => pattern.test(line))) return undefined;
  const words = splitWords(line);
  for (const [pattern, instead] of BANNED) {
    const found = new RegExp(`(?<![\\w-])(?:${pattern.source})(?![\\w-])`).exec(words);
    if (found) return `"${found[0]}": write ${instead}`;
  }
  return undefined;
}

describe("words", () => {
  it("finds a banned word in a comment, an identifier and a constant", () => {
    for (const line of ["// told anew", "const isDoomed = 1;", "GOODBYE_MS", "it goes on"])
      assert.ok(findBanned(line), line);
    for (const line of ["retold", "hearing aid", "wishbone"]) assert.equal(findBanned(line), undefined, line);
  });

  it("uses no banned word in source, help, logs, tests and docs", () => {
    const found = tracked.filter(isText).flatMap(file =>
      read(file)
        .split("\n")
        .flatMap((line, i) => {
          const banned = findBanned(line);
          return banned === undefined ? [] : [`${file}:${i + 1}: ${banned}`];
        }),
    );
    assert.deepEqual(found, []);
  });
});

describe("lengths", () => {
  it("keeps the names of tests short enough for one line of a report", () => {
    const long = tracked
      .filter(file => file.startsWith("test/") && file.endsWith(".ts") && file !== SELF)
      .flatMap(file =>
        [...read(file).matchAll(/\b(?:it|test|describe)\(\s*(["'`])((?:\\.|(?!\1)[^\\])*)\1/g)]
          .map(([, , name = ""]) => name.replace(/\$\{[^}]*\}/g, "x"))
          .filter(name => name.length > MAX_TEST_NAME)
          .map(name => `${file}: ${name}`),
      );
    assert.deepEqual(long, []);
  });

  it("keeps the lines of docs within 120 columns, tables and links apart", () => {
    const long = tracked
      .filter(file => file.endsWith(".md"))
      .flatMap(file => {
        let isCode = false;
        return read(file)
          .split("\n")
          .flatMap((line, i) => {
            if (line.startsWith("```")) isCode = !isCode;
            const isFree = isCode || line.startsWith("|") || /^\S*https?:\S+$/.test(line);
            return !isFree && line.length > MAX_LINE ? [`${file}:${i + 1}: ${line.length} columns`] : [];
          });
      });
    assert.deepEqual(long, []);
  });
});
