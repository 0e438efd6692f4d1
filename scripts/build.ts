import { chmodSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";
import { copyNativeAddons } from "./native-addons.ts";

/**
 * Makes `dist/`: the CNI executable and the bundle in `lib/` that it loads when no agent takes its call; a starter and a
 * bundle for each other program; the native addons in `lib/`. The directory can be copied anywhere: only the shebang
 * points outside, and a link to an executable in it works.
 *
 *   node scripts/build.ts [--out DIR] [--node PATH]
 */
const ROOT = join(import.meta.dirname, "..");

const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: join(ROOT, "dist") },
    /** The Node runtime that the starters' shebang names. */
    node: { type: "string", default: realpathSync(process.execPath) },
  },
});

interface Entry {
  /** The starter's name in `dist/`. */
  name: string;
  source: string;
  /** Common JS starts fastest; a bundle with a top-level await needs an ES module. */
  format: "cjs" | "esm";
  /** A module that is loaded only when needed, from a bundle of its own in `lib/`. */
  part?: { source: string; name: string };
  /** What it runs on another thread, in a bundle of its own in `lib/`. */
  thread?: { source: string; name: string };
}

const ENTRIES: Entry[] = [
  {
    name: "mooring",
    source: "cni/main.ts",
    format: "cjs",
    part: { source: "cni/launcher/call-here.ts", name: "mooring-call.js" },
  },
  { name: "mooring-agent.js", source: "cni/agent/main.ts", format: "esm" },
  {
    name: "mooring-ipam.js",
    source: "ipam-server/main.ts",
    format: "esm",
    thread: { source: "ipam-server/storage/sqlite/reads/read-worker.ts", name: "read-worker.mjs" },
  },
  { name: "mooring-controller.js", source: "ipam-server/controller/main.ts", format: "esm" },
  { name: "mooringctl.js", source: "ipam-server/ctl/main.ts", format: "esm" },
];

/** What a bundled CommonJS dependency asks for at run time. */
const ESM_BANNER = `import { createRequire } from "node:module";
const require = createRequire(import.meta.url), __filename = import.meta.filename, __dirname = import.meta.dirname;`;

// Built in a draft directory and renamed, so that dist/ is always complete: the old one or the new one.
const draft = `${options.out}.${process.pid}`;
const lib = join(draft, "lib");
mkdirSync(lib, { recursive: true });
// Without it a dist/ inside the checkout would take the checkout's module type.
writeFileSync(join(draft, "package.json"), `${JSON.stringify({ type: "commonjs" })}\n`);
try {
  for (const entry of ENTRIES) {
    if (!existsSync(join(ROOT, entry.source))) {
      console.log(`${entry.name}: not written yet (${entry.source})`);
      continue;
    }
    const executable = join(draft, entry.name);
    if (entry.part !== undefined) {
      const { name, source } = entry.part;
      await bundle({ name: `lib/${name}`, source, format: entry.format }, join(lib, name), "./", "");
    }
    if (entry.thread !== undefined) {
      const { name, source } = entry.thread;
      await bundle({ name: `lib/${name}`, source, format: "esm" }, join(lib, name), "./", ESM_BANNER);
    }
    if (entry.format === "cjs") await bundle(entry, executable, "./lib/", `#!${options.node}`);
    else {
      await bundle(entry, join(lib, `${stem(entry.name)}.mjs`), "./", ESM_BANNER);
      writeFileSync(executable, formatStarter(entry));
    }
    chmodSync(executable, 0o755);
  }
  rmSync(options.out, { recursive: true, force: true });
  renameSync(draft, options.out);
} finally {
  rmSync(draft, { recursive: true, force: true });
}

async function bundle(
  { name, source, format, part }: Entry,
  outfile: string,
  addons: string,
  banner: string,
): Promise<void> {
  await build({
    absWorkingDir: ROOT,
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format,
    // Names are only kept where a stack trace is worth more than a millisecond.
    minify: format === "cjs",
    banner: { js: banner },
    legalComments: "none",
    logLevel: "warning",
    plugins: [...(part === undefined ? [] : [leaveOut(part)]), copyNativeAddons(ROOT, lib, addons)],
    // What is loaded later is required: Node's loader of ES modules would have to start first.
    supported: { "dynamic-import": format === "esm" },
  });
  console.log(`${name}: ${Math.ceil(statSync(outfile).size / 1024)} KiB`);
}

/** The part stays outside of the bundle that loads it. */
function leaveOut({ source, name }: { source: string; name: string }): Plugin {
  return {
    name: "leave-out",
    setup(builder) {
      builder.onResolve({ filter: /\.ts$/ }, ({ path, resolveDir, kind }) =>
        kind === "dynamic-import" && join(resolveDir, path) === join(ROOT, source)
          ? { path: `./lib/${name}`, external: true }
          : undefined,
      );
    },
  };
}

function formatStarter({ name }: Entry): string {
  return `#!${options.node}\n"use strict";\nimport("./lib/${stem(name)}.mjs");\n`;
}

function stem(name: string): string {
  return basename(name, ".js");
}
