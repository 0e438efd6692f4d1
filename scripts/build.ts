import { chmodSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { type BuildOptions, build } from "esbuild";
import { copyNativeAddons } from "./native-addons.ts";

/**
 * Makes `dist/`: one bundle per entry point in `lib/`, the native addons they load beside them, and a small starter with
 * a shebang for each. The directory works wherever it is copied: nothing in it points outside but the shebang.
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
}

const ENTRIES: Entry[] = [
  { name: "mooring", source: "cni/main.ts", format: "cjs" },
  { name: "mooring-agent.js", source: "cni/agent/main.ts", format: "esm" },
  { name: "mooring-ipam.js", source: "ipam-server/main.ts", format: "esm" },
  { name: "mooring-controller.js", source: "ipam-server/controller/main.ts", format: "esm" },
  { name: "mooringctl.js", source: "ipam-server/ctl/main.ts", format: "esm" },
];

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
    await bundle(entry);
    writeStarter(entry);
  }
  rmSync(options.out, { recursive: true, force: true });
  renameSync(draft, options.out);
} finally {
  rmSync(draft, { recursive: true, force: true });
}

async function bundle({ name, source, format }: Entry): Promise<void> {
  const esm: BuildOptions = {
    // What a bundled CommonJS dependency asks for at run time.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  };
  const outfile = join(lib, `${stem(name)}.${format === "cjs" ? "cjs" : "mjs"}`);
  await build({
    absWorkingDir: ROOT,
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format,
    minify: format === "cjs",
    keepNames: true,
    legalComments: "none",
    logLevel: "warning",
    plugins: [copyNativeAddons(ROOT, lib)],
    ...(format === "esm" && esm),
  });
  console.log(`${name}: ${Math.ceil(statSync(outfile).size / 1024)} KiB`);
}

/** The starter is neutral: its name says nothing of a module type, and it runs as either. */
function writeStarter({ name, format }: Entry): void {
  const path = join(draft, name);
  const start =
    format === "cjs"
      ? // The compiled code is kept where the bundle is, when that can be written: it saves a third of the start-up.
        `const { realpathSync } = process.getBuiltinModule("node:fs");
const { createRequire, enableCompileCache } = process.getBuiltinModule("node:module");
const self = realpathSync(process.argv[1]);
createRequire(self)("./lib/${stem(name)}.cjs");
`
      : `import("./lib/${stem(name)}.mjs");\n`;
  writeFileSync(path, `#!${options.node}\n"use strict";\n${start}`);
  chmodSync(path, 0o755);
}

function stem(name: string): string {
  return basename(name, ".js");
}
