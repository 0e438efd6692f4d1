import { chmodSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { copyNativeAddons } from "./native-addons.ts";

/**
 * Makes `dist/`: the CNI executable as one file, for each other entry point a small starter and its bundle in `lib/`, and
 * the native addons in `lib/` too. The directory works wherever it is copied: nothing in it points outside but the
 * shebang, and a link to an executable in it works as well.
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
  /** Common JS in one file starts fastest; a bundle with a top-level await needs an ES module. */
  format: "cjs" | "esm";
}

const ENTRIES: Entry[] = [
  { name: "mooring", source: "cni/main.ts", format: "cjs" },
  { name: "mooring-agent.js", source: "cni/agent/main.ts", format: "esm" },
  { name: "mooring-ipam.js", source: "ipam-server/main.ts", format: "esm" },
  { name: "mooring-controller.js", source: "ipam-server/controller/main.ts", format: "esm" },
  { name: "mooringctl.js", source: "ipam-server/ctl/main.ts", format: "esm" },
];

/** What a bundled CommonJS dependency asks for at run time. */
const ESM_BANNER = `import { createRequire } from "node:module";
const require = createRequire(import.meta.url), __filename = import.meta.filename, __dirname = import.meta.dirname;`;

// Built beside and put in place at once: whoever runs dist/ meanwhile finds the old one or the new one, whole.
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

async function bundle({ name, source, format }: Entry, outfile: string, addons: string, banner: string): Promise<void> {
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
    plugins: [copyNativeAddons(ROOT, lib, addons)],
  });
  console.log(`${name}: ${Math.ceil(statSync(outfile).size / 1024)} KiB`);
}

function formatStarter({ name }: Entry): string {
  return `#!${options.node}\n"use strict";\nimport("./lib/${stem(name)}.mjs");\n`;
}

function stem(name: string): string {
  return basename(name, ".js");
}
