import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { test } from "node:test";

const ROOT = new URL("../..", import.meta.url).pathname;
const PRODUCT = ["cni", "ipam-server", "kube"].filter(top => existsSync(join(ROOT, top)));
const MAX_LINES = 320;

interface Import {
  file: string;
  /** A path below the root, or a package's name. */
  target: string;
  isPackage: boolean;
  typeOnly: boolean;
}

const files = PRODUCT.flatMap(top =>
  readdirSync(join(ROOT, top), { recursive: true, encoding: "utf8" }).map(file => join(top, file)),
)
  .filter(file => file.endsWith(".ts"))
  .sort();
const sources = new Map(files.map(file => [file, readFileSync(join(ROOT, file), "utf8")]));
const imports = [...sources].flatMap(([file, source]) => importsOf(file, source));

function importsOf(file: string, source: string): Import[] {
  const pattern =
    /^\s*(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  return [...source.matchAll(pattern)].map(([, type, fixed, dynamic]) => {
    const specifier = fixed ?? dynamic ?? "";
    const isPackage = !specifier.startsWith(".");
    const target = isPackage ? specifier : relative(ROOT, normalize(join(ROOT, dirname(file), specifier)));
    return { file, target, isPackage, typeOnly: type !== undefined };
  });
}

const isMain = (file: string): boolean => file.endsWith("/main.ts");
const within = (file: string, folder: string): boolean => file.startsWith(`${folder}/`);

/** Each room and those that it may import from, itself included. The first match counts. A name that ends in `/*` is files of that folder alone. A file may be named too. */
const IPAM = "ipam-server";
const rooms = (...names: string[]): string[] => names.map(name => `${IPAM}/${name}`);
const ARROWS: [string, string[]][] = [
  [`${IPAM}/contract`, rooms("contract")],
  [`${IPAM}/process`, rooms("process")],
  [`${IPAM}/kube`, rooms("kube", "process")],
  [`${IPAM}/client`, rooms("contract", "process", "client")],
  [`${IPAM}/domain`, rooms("contract", "domain")],
  [`${IPAM}/storage`, rooms("contract", "process", "domain", "storage")],
  [`${IPAM}/engine`, rooms("contract", "process", "domain", "engine")],
  [`${IPAM}/auth`, rooms("contract", "domain", "auth")],
  [`${IPAM}/http`, rooms("contract", "process", "domain", "engine", "http")],
  [`${IPAM}/drivers`, rooms("contract", "process", "domain", "engine", "drivers")],
  [`${IPAM}/duties`, rooms("contract", "process", "domain", "storage", "engine", "auth", "http", "drivers", "duties")],
  [`${IPAM}/controller`, rooms("contract", "process", "kube", "client", "controller")],
  [`${IPAM}/ctl`, rooms("contract", "process", "kube", "client", "ctl")],
  [`${IPAM}/panel`, rooms("contract", "process", "client", "panel")],
  [IPAM, [IPAM]],
  ["cni/datapath", ["cni/datapath", "cni/external-ids.ts", ...rooms("process")]],
  ["cni/external-ids.ts", []],
  ["cni/agent", ["cni", ...rooms("contract", "process", "kube", "client")]],
  [
    "cni",
    [
      "cni/*",
      "cni/launcher",
      "cni/spec",
      "cni/verbs",
      "cni/journal",
      "cni/datapath",
      ...rooms("contract", "process", "client"),
    ],
  ],
];

const MOVING = [/^kube\//, /^ipam-server\/(options|option-parsers)\.ts$/];

function mayImport(file: string, target: string): boolean {
  // Rooms that are still to move.
  if (MOVING.some(pattern => pattern.test(target)) && !/contract|domain|dispatch/.test(file)) return true;
  // For its version.
  if (target === "package.json") return isMain(file);
  const [, allowed = []] = ARROWS.find(([folder]) => file === folder || within(file, folder)) ?? [];
  return allowed.some(folder =>
    folder.endsWith("/*") ? dirname(target) === folder.slice(0, -2) : target === folder || within(target, folder),
  );
}

test("the regular expression finds imports of every shape", () => {
  const source = [
    'import a from "./a.ts";',
    'import type { B } from "../b.ts";',
    "import {\n  c,\n  d,\n} from './c.ts';",
    'export * from "./d.ts";',
    'import "./e.ts";',
    'const f = await import("./f.ts");',
    'import { g } from "zod";',
  ].join("\n");
  const found = importsOf("ipam-server/x/y.ts", source);
  assert.deepEqual(
    found.map(({ target }) => target).sort(),
    ["ipam-server/b.ts", ...["a", "c", "d", "e", "f"].map(name => `ipam-server/x/${name}.ts`), "zod"].sort(),
  );
  assert.ok(found.find(({ target }) => target === "ipam-server/b.ts")?.typeOnly);
  assert.ok(imports.length > 100, `only ${imports.length} imports were found`);
});

test("nobody imports against the arrows", () => {
  const wrong = imports.filter(({ file, target, isPackage }) => !isPackage && !mayImport(file, target));
  assert.deepEqual(
    wrong.map(({ file, target }) => `${file} -> ${target}`),
    [],
  );
});

test("the arrows refuse what they are there to refuse", () => {
  const refused = [
    ["ipam-server/contract/port.ts", "ipam-server/domain/store.ts"],
    ["ipam-server/domain/decide/decide.ts", "ipam-server/storage/sqlite/open.ts"],
    ["ipam-server/http/app.ts", "ipam-server/storage/sqlite/open.ts"],
    ["ipam-server/http/app.ts", "ipam-server/auth/anonymous.ts"],
    ["ipam-server/ctl/client.ts", "ipam-server/domain/store.ts"],
    ["cni/datapath/datapath.ts", "ipam-server/contract/index.ts"],
    ["cni/datapath/datapath.ts", "cni/dispatch.ts"],
    ["cni/external-ids.ts", "cni/dispatch.ts"],
    ["cni/verbs/add.ts", "cni/agent/agent.ts"],
    ["cni/dispatch.ts", "ipam-server/domain/store.ts"],
    ["cni/dispatch.ts", "ipam-server/options.ts"],
  ] as const;
  for (const [file, target] of refused) assert.ok(!mayImport(file, target), `${file} -> ${target}`);
});

/** Packages that a folder may load; folders that are not named may load any. */
const PACKAGES: [string, RegExp][] = [
  ["ipam-server/contract", /^$/],
  ["ipam-server/domain", /^(ipaddr\.js|node:crypto)$/],
  ["cni/agent", /./],
  // STYLE: the executable's start-up is its cost, so it loads no schema library, logger, parser of flags or server.
  ["cni", /^(node:.+|netlink(\/.+)?|koffi|ipaddr\.js)$/],
];

test("each part loads only the packages it may", () => {
  const wrong = imports.filter(({ file, target, isPackage, typeOnly }) => {
    const [, allowed] = PACKAGES.find(([folder]) => within(file, folder)) ?? [];
    return isPackage && !typeOnly && allowed !== undefined && !allowed.test(target);
  });
  assert.deepEqual(
    wrong.map(({ file, target }) => `${file} -> ${target}`),
    [],
  );
});

test("only main.ts files touch the process", () => {
  const wrong = files.filter(
    file => !isMain(file) && /(?<![\w.$-])process\s*[.[]|["'](node:)?process["']/.test(code(file)),
  );
  assert.deepEqual(wrong, []);
});

test("every process boundary is one file that nobody imports", () => {
  assert.deepEqual(
    imports.filter(({ target }) => isMain(target)).map(({ file }) => file),
    [],
  );
});

test("files stay small", () => {
  const long = [...sources].map(([file, source]) => ({ file, lines: source.split("\n").length }));
  assert.deepEqual(
    long.filter(({ lines }) => lines > MAX_LINES),
    [],
  );
});

/** The source without comments and texts, as far as a look by regular expressions needs it. */
function code(file: string): string {
  return (sources.get(file) ?? "")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|\s)\/\/.*$/gm, "")
    .replace(/`(?:\\.|\$\{[^}]*\}|[^`\\])*`/g, "``");
}
