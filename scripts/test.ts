import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { finished } from "node:stream/promises";
import { run } from "node:test";
import { spec } from "node:test/reporters";

/**
 * Runs the test files in two rounds, and counts both in one closing line: first all that may run beside each other, then
 * those that start whole topologies and measure outages, one after another.
 */
const wanted = process.argv.slice(2);
// The Kubernetes suite wants a cluster, and its files in their order: scripts/test-e2e.
const isKubernetes = (file: string) => file.startsWith("test/k8s/");
const found = globSync("test/**/*.test.ts").filter(file => !isKubernetes(file));
const files = wanted.length > 0 ? wanted : found.sort();
const isWhole = (file: string) => file.includes("test/e2e/");
const rounds = [
  { files: files.filter(file => !isWhole(file)), concurrency: availableParallelism() },
  { files: files.filter(isWhole), concurrency: 1 },
];

const counts = { passed: 0, failed: 0, skipped: 0 };
for (const round of rounds.filter(({ files }) => files.length > 0)) {
  const events = run({ ...round, timeout: 900_000 });
  events.on("test:summary", ({ file, counts: of }) => {
    // The summary without a file is the round's.
    if (file !== undefined) return;
    counts.passed += of.passed;
    counts.failed += of.tests - of.passed - of.skipped - of.todo;
    counts.skipped += of.skipped + of.todo;
  });
  const report = events.compose(spec);
  report.pipe(process.stdout, { end: false });
  await finished(report);
}

console.log(`\n${counts.skipped} skipped`);
console.log(`${counts.passed} passed, ${counts.failed} failed`);
if (counts.failed > 0 || counts.passed === 0) process.exitCode = 1;
