import { rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { finished } from "node:stream/promises";
import { run as runTests } from "node:test";
import { spec } from "node:test/reporters";
import { parseArgs } from "node:util";
import { openLab } from "./lab.ts";
import { printState } from "./print-state.ts";

const HELP = `usage: [KUBECONFIG=FILE] scripts/test-e2e [--all] [--keep] [NAME...]

Installs Mooring in a Kubernetes cluster, tests it there, and uninstalls it.

  --all     also the long tests: many pods at once, while agents and the IPAM fail
  --keep    leave the lab up and Mooring installed, to look at
  NAME      only these files of test/k8s, such as: install move

With KUBECONFIG it is that cluster, which needs what docs/operations.md says, a pullable or loaded image, and

  MOORING_E2E_OVERLAY     the folder to kubectl apply -k (default manifests/overlays/sqlite)
  MOORING_E2E_NETWORKS    networks labelled env=prod, test, tiny and elsewhere (default test/k8s/networks.yaml)
  MOORING_E2E_IMAGE       an image with busybox (default docker.io/library/busybox:1.36)
  MOORING_E2E_NODE_EXEC   prefix of a command that runs another on a node: PREFIX NODE COMMAND... (default: none, and the
                          tests that need it are skipped)

Without KUBECONFIG, MOORING_LAB names a directory whose k8s/cluster.sh brings a cluster up; it is taken down afterwards.
LAB_DIR names the state of a lab that is up already: it is used as it is, and left up.
`;
const CORE = ["install", "reach", "move", "keep", "lease", "bad-input"];
const LONG = ["burst"];
const LAST = ["uninstall"];
const FILE_TIMEOUT_MS = 3_600_000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    lab: { type: "string", default: "" },
    all: { type: "boolean" },
    keep: { type: "boolean" },
    help: { type: "boolean" },
  },
});

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  if (!process.env.KUBECONFIG) {
    Object.assign(process.env, await openLab(resolve(options.lab), options.keep === true, stack));
  }
  process.env.MOORING_E2E_INVENTORY ??= join(process.env.LAB_DIR ?? "/tmp", "mooring-e2e-inventory.json");
  if (positionals.length === 0) rmSync(process.env.MOORING_E2E_INVENTORY, { force: true });

  const all = [...CORE, ...(options.all ? LONG : []), ...(options.keep ? [] : LAST)];
  const names = positionals.length > 0 ? positionals : all;
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const began = performance.now();
  for (const name of names) {
    if (stop.signal.aborted) break;
    const before = counts.failed;
    const seconds = await runFile(name, counts, stop.signal);
    console.log(`${name}: ${seconds} s\n`);
    if (counts.failed > before) await printState();
    // What is not installed cannot be tested.
    if (counts.failed > before && name === "install") break;
  }
  console.log(`${Math.round((performance.now() - began) / 1000)} s in all`);
  console.log(`${counts.skipped} skipped`);
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  if (counts.failed > 0 || counts.passed === 0 || stop.signal.aborted) process.exitCode = 1;
}

/** Adds the file's results to the counts and gives the seconds it took. */
async function runFile(
  name: string,
  counts: { passed: number; failed: number; skipped: number },
  signal: AbortSignal,
): Promise<number> {
  const began = performance.now();
  const file = join(import.meta.dirname, "..", `${basename(name, ".test.ts")}.test.ts`);
  const events = runTests({ files: [file], concurrency: 1, timeout: FILE_TIMEOUT_MS, signal });
  events.on("test:summary", ({ file, counts: of }) => {
    // The summary without a file is the whole run's.
    if (file !== undefined) return;
    counts.passed += of.passed;
    counts.failed += of.tests - of.passed - of.skipped - of.todo;
    counts.skipped += of.skipped + of.todo;
  });
  const report = events.compose(spec);
  report.pipe(process.stdout, { end: false });
  await finished(report);
  return Math.round((performance.now() - began) / 1000);
}

if (options.help) console.log(HELP);
else await main();
