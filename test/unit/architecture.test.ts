import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { describe, it } from "node:test";

const ROOT = new URL("../..", import.meta.url).pathname;
const PRODUCT = ["cni", "ipam-server"];
const MAX_LINES = 300;
const MAX_FILES = 15;

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
const imports = [...sources].flatMap(([file, source]) => parseImports(file, source));
const importsByFile = Map.groupBy(imports, ({ file }) => file);

function parseImports(file: string, source: string): Import[] {
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
const isWithin = (file: string, folder: string): boolean => file === folder || file.startsWith(`${folder}/`);

/** Each room (or file) and those that it may import from; the first match counts. `/*`: only the files of that folder. */
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
  ["cni/datapath/openflow", ["cni/datapath/openflow", "cni/datapath/deadline.ts", "cni/datapath/kernel/ip-bytes.ts"]],
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

function mayImport(file: string, target: string): boolean {
  // For its version.
  if (target === "package.json") return isMain(file);
  const [, allowed = []] = ARROWS.find(([folder]) => isWithin(file, folder)) ?? [];
  return allowed.some(folder =>
    folder.endsWith("/*") ? dirname(target) === folder.slice(0, -2) : isWithin(target, folder),
  );
}

/** All that a start of the executable loads: no schema library, logger, parser of flags or server. */
const EXECUTABLE_PACKAGES = /^(node:.+|netlink(\/.+)?|koffi|ipaddr\.js)$/;
const EXECUTABLE_ENTRIES = ["cni/main.ts", "cni/launcher/call-here.ts"];

/** Packages that a folder may load; folders that are not named may load any. */
const PACKAGES: [string, RegExp][] = [
  ["ipam-server/contract", /^$/],
  ["ipam-server/domain", /^(ipaddr\.js|node:crypto)$/],
  ["cni/agent", /./],
  // The codec never sees a socket.
  ["cni/datapath/openflow/connection.ts", /^node:net$/],
  ["cni/datapath/openflow", /^$/],
  ["cni", EXECUTABLE_PACKAGES],
];

const show = ({ file, target }: Import): string => `${file} -> ${target}`;

/** The imports of every file that these load, directly or through others. Type imports load nothing. */
function loadedFrom(entries: readonly string[]): Import[] {
  const reached = new Set(entries);
  const loaded: Import[] = [];
  for (const file of reached) {
    for (const each of importsByFile.get(file) ?? []) {
      if (each.typeOnly) continue;
      loaded.push(each);
      if (!each.isPackage) reached.add(each.target);
    }
  }
  return loaded;
}

/** Groups of nodes that reach each other (Tarjan's strongly connected components), those of one node left out. */
function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const path: string[] = [];
  const cycles: string[][] = [];
  const visit = (node: string): number => {
    const index = order.size;
    let low = index;
    order.set(node, index);
    path.push(node);
    for (const next of edges.get(node) ?? []) {
      const isNew = !order.has(next);
      if (isNew) low = Math.min(low, visit(next));
      else if (path.includes(next)) low = Math.min(low, lowest.get(next) ?? order.get(next) ?? low);
      lowest.set(node, low);
    }
    lowest.set(node, low);
    if (low === index) {
      const group = path.splice(path.indexOf(node));
      if (group.length > 1) cycles.push(group.sort());
    }
    return low;
  };
  for (const node of edges.keys()) if (!order.has(node)) visit(node);
  return cycles;
}

describe("the scan of imports", () => {
  it("finds imports of every shape", () => {
    const source = [
      'import a from "./a.ts";',
      'import type { B } from "../b.ts";',
      "import {\n  c,\n  d,\n} from './c.ts';",
      'export * from "./d.ts";',
      'import "./e.ts";',
      'const f = await import("./f.ts");',
      'import { g } from "zod";',
    ].join("\n");
    const found = parseImports("ipam-server/x/y.ts", source);
    assert.deepEqual(
      found.map(({ target }) => target).sort(),
      ["ipam-server/b.ts", ...["a", "c", "d", "e", "f"].map(name => `ipam-server/x/${name}.ts`), "zod"].sort(),
    );
    assert.ok(found.find(({ target }) => target === "ipam-server/b.ts")?.typeOnly);
    assert.ok(imports.length > 100, `only ${imports.length} imports were found`);
  });
});

describe("the arrows", () => {
  it("allow every import between rooms", () => {
    assert.deepEqual(
      imports.filter(({ file, target, isPackage }) => !isPackage && !mayImport(file, target)).map(show),
      [],
    );
  });

  it("reject imports against them", () => {
    const refused = [
      ["ipam-server/contract/port.ts", "ipam-server/domain/store.ts"],
      ["ipam-server/domain/decide/decide.ts", "ipam-server/storage/sqlite/open.ts"],
      ["ipam-server/http/app.ts", "ipam-server/storage/sqlite/open.ts"],
      ["ipam-server/http/app.ts", "ipam-server/auth/anonymous.ts"],
      ["ipam-server/ctl/program.ts", "ipam-server/domain/store.ts"],
      ["cni/datapath/datapath.ts", "ipam-server/contract/index.ts"],
      ["cni/datapath/datapath.ts", "cni/dispatch.ts"],
      ["cni/datapath/openflow/flow.ts", "cni/datapath/plug.ts"],
      ["cni/external-ids.ts", "cni/dispatch.ts"],
      ["cni/verbs/add.ts", "cni/agent/agent.ts"],
      ["cni/dispatch.ts", "ipam-server/domain/store.ts"],
      ["cni/dispatch.ts", "ipam-server/options.ts"],
    ] as const;
    for (const [file, target] of refused) assert.ok(!mayImport(file, target), `${file} -> ${target}`);
  });

  it("form no cycle of imports, not even of types", () => {
    const edges = files.map(file => [file, (importsByFile.get(file) ?? []).map(({ target }) => target)] as const);
    assert.deepEqual(findCycles(new Map(edges)), []);
  });

  it("are searched for cycles through any number of files", () => {
    const edges = { a: ["b", "d"], b: ["c"], c: ["a", "e"], d: ["e"], e: ["f"], f: ["e"], g: ["a", "f"] };
    assert.deepEqual(findCycles(new Map(Object.entries(edges))), [
      ["e", "f"],
      ["a", "b", "c"],
    ]);
  });
});

describe("packages", () => {
  it("are loaded only by the rooms that may", () => {
    const wrong = imports.filter(({ file, target, isPackage, typeOnly }) => {
      const [, allowed] = PACKAGES.find(([folder]) => isWithin(file, folder)) ?? [];
      return isPackage && !typeOnly && allowed !== undefined && !allowed.test(target);
    });
    assert.deepEqual(wrong.map(show), []);
  });

  it("are light wherever the executable's start reaches", () => {
    const loaded = loadedFrom(EXECUTABLE_ENTRIES);
    assert.ok(loaded.length > 50, `only ${loaded.length} imports are reached`);
    assert.deepEqual(
      loaded.filter(({ target, isPackage }) => isPackage && !EXECUTABLE_PACKAGES.test(target)).map(show),
      [],
    );
  });
});

describe("the process boundary", () => {
  it("is touched only by main.ts files", () => {
    const wrong = files.filter(
      file => !isMain(file) && /(?<![\w.$-])process\s*[.[]|["'](node:)?process["']/.test(code(file)),
    );
    assert.deepEqual(wrong, []);
  });

  it("is imported by no file", () => {
    assert.deepEqual(imports.filter(({ target }) => isMain(target)).map(show), []);
  });
});

describe("sizes", () => {
  it(`stay at ${MAX_LINES} lines a file`, () => {
    const lines = [...sources].map(([file, source]) => ({ file, lines: source.trimEnd().split("\n").length }));
    assert.deepEqual(
      lines.filter(({ lines }) => lines > MAX_LINES),
      [],
    );
  });

  it(`stay at ${MAX_FILES} files a folder`, () => {
    const folders = Map.groupBy(files, dirname);
    const large = [...folders].map(([folder, { length }]) => ({ folder, files: length }));
    assert.deepEqual(
      large.filter(({ files }) => files > MAX_FILES),
      [],
    );
  });
});

/** The source without comments and texts, as far as a search by regular expressions needs it. */
function code(file: string): string {
  return (sources.get(file) ?? "")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/(^|\s)\/\/.*$/gm, "")
    .replace(/`(?:\\.|\$\{[^}]*\}|[^`\\])*`/g, "``");
}
