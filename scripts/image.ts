import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { packImage, packTar, type TarEntry } from "./image-tar.ts";

const HELP = `usage: scripts/image [--out FILE] [--tag NAME:TAG] [--root DIR]

Makes the image that the Dockerfile makes, for machines without a builder: this machine's Node, the shared libraries it
and the native addons load, and dist/. The same inputs give the same bytes.

  --out FILE    the archive, for "docker load" or "ctr image import" (default dist/mooring-image.tar)
  --tag NAME    the image's name in it (default mooring:dev)
  --root DIR    write the image's file system to this new folder instead of an archive
`;
const REPOSITORY = join(import.meta.dirname, "..");
/** In the image and, once installed, on the host: the starters' shebang is right in both. */
const HOME = "opt/mooring";
const USER = 65532;

const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: join(REPOSITORY, "dist", "mooring-image.tar") },
    tag: { type: "string", default: "mooring:dev" },
    root: { type: "string" },
    help: { type: "boolean" },
  },
});
if (options.help) console.log(HELP);
else makeImage();

function makeImage(): void {
  const draft = mkdtempSync(join(tmpdir(), "mooring-image-"));
  try {
    // Directories must be readable by the image's unprivileged user.
    chmodSync(draft, 0o755);
    stage(draft);
    if (options.root !== undefined) {
      execFileSync("cp", ["-a", draft, options.root]);
      return;
    }
    const layer = packTar(readEntries(draft, ""));
    const image = packImage({ tag: options.tag, architecture: goArchitecture(), config: imageConfig() }, layer);
    mkdirSync(dirname(options.out), { recursive: true });
    writeFileSync(options.out, image);
    console.log(`${options.out}: ${options.tag}, ${Math.ceil(image.length / 2 ** 20)} MiB`);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

function imageConfig(): Record<string, unknown> {
  return {
    User: `${USER}:${USER}`,
    WorkingDir: "/",
    Env: [`PATH=/${HOME}:/${HOME}/bin`, "NODE_ENV=production"],
    Cmd: [`/${HOME}/mooring-ipam.js`, "--help"],
  };
}

/** Lays the image's file system out in an empty folder. */
function stage(root: string): void {
  const home = join(root, HOME);
  mkdirSync(dirname(home), { recursive: true });
  const build = ["scripts/build.ts", "--out", home, "--node", `/${HOME}/bin/node`];
  execFileSync(process.execPath, build, { cwd: REPOSITORY, stdio: ["ignore", "ignore", "inherit"] });

  const node = realpathSync(process.execPath);
  mkdirSync(join(home, "bin"));
  copyFileSync(node, join(home, "bin/node"));
  chmodSync(join(home, "bin/node"), 0o755);

  const addons = readdirSync(join(home, "lib")).filter(name => name.endsWith(".node"));
  for (const library of sharedLibraries([node, ...addons.map(name => join(home, "lib", name))])) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(realpathSync(library), join(root, library));
    chmodSync(join(root, library), 0o755);
  }

  mkdirSync(join(root, "etc"), { recursive: true });
  writeFileSync(join(root, "etc/passwd"), `root:x:0:0:root:/:\nmooring:x:${USER}:${USER}:mooring:/:\n`);
  writeFileSync(join(root, "etc/group"), `root:x:0:\nmooring:x:${USER}:\n`);
  // Names of the cluster before the resolver: what glibc does without the file differs between its versions.
  writeFileSync(join(root, "etc/nsswitch.conf"), "hosts: files dns\n");
  mkdirSync(join(root, "tmp"));
  chmodSync(join(root, "tmp"), 0o1777);
}

/** Absolute paths of what the dynamic loader would load for these files, and the loader itself. */
function sharedLibraries(files: string[]): string[] {
  const found = new Set<string>();
  for (const file of files) {
    const lines = execFileSync("ldd", [file], { encoding: "utf8" }).split("\n");
    for (const line of lines) {
      if (line.includes("not found")) throw new Error(`${file} needs a library that this machine lacks:${line}`);
      const path = /(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)?.[1];
      if (path !== undefined) found.add(path);
    }
  }
  return [...found].sort();
}

function readEntries(root: string, folder: string): TarEntry[] {
  return readdirSync(join(root, folder)).flatMap(name => {
    const path = join(folder, name);
    const stat = statSync(join(root, path));
    const mode = stat.mode & 0o7777;
    if (stat.isDirectory()) {
      const itself: TarEntry = { path, type: "directory", mode: (mode & 0o1000) | (mode & 0o1000 ? 0o777 : 0o755) };
      return [itself, ...readEntries(root, path)];
    }
    const content = readFileSync(join(root, path));
    return [{ path, type: "file" as const, mode: mode & 0o111 ? 0o755 : 0o644, content }];
  });
}

function goArchitecture(): string {
  if (process.arch === "x64") return "amd64";
  if (process.arch === "arm64") return "arm64";
  throw new Error(`there is no image for ${process.arch}`);
}
