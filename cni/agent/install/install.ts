import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  access,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import {
  copySynced,
  draftOf,
  linkDurably,
  removeDrafts,
  syncPath,
  writeDurably,
} from "../../../ipam-server/process/durable-file.ts";
import { type CniConfigurationFacts, CONFIGURATION_FILE, formatCniConfiguration } from "./cni-configuration.ts";

/** Folders of the host, as mounted in this process. */
export interface InstallPlaces {
  /** For the executable: /opt/cni/bin. */
  bin: string;
  /** For the runtime: /opt/mooring. */
  home: string;
  /** For the network configuration: /etc/cni/net.d. */
  conf: string;
  /** The host's path of `home`. */
  hostHome: string;
}

/** The agent's own build (`dist/`, or /opt/mooring in the image). */
export interface InstallSource {
  folder: string;
  /** The Node runtime. */
  node: string;
}

const EXECUTABLE = "mooring";
/** The files of the build's `lib/` that the executable loads. */
const PARTS = new Set(["mooring-call.js", "koffi.node", "netlink.node"]);
const CURRENT = "current";
const VERSIONS = "versions";
const RETIRED = ".retired";
/** Longer than a call of the executable, which lasts a minute at most and loads files of its version. */
const RETIREMENT_MS = 10 * 60_000;

/**
 * Installs the executable, its runtime and its addons as
 *
 *     home/versions/HASH/{mooring, bin/node, lib/{mooring-call.js, *.node}, package.json}
 *     home/current      -> versions/HASH
 *     bin/mooring       -> home/current/mooring
 *
 * Idempotent; resolves with the version's name. A version appears complete or not at all, and `current` is switched by one
 * rename, so that each call finds an executable and addons of the same version.
 */
export async function installExecutable(source: InstallSource, places: InstallPlaces): Promise<string> {
  const { home, bin, hostHome } = places;
  const files = await listFiles(source);
  const version = await hashFiles(files);
  const target = join(home, VERSIONS, version);
  await mkdir(join(home, VERSIONS), { recursive: true });
  if (!(await exists(target))) {
    const draft = draftOf(target);
    try {
      await copyFiles(files, draft, `${hostHome}/${VERSIONS}/${version}/bin/node`);
      await renameUnlessThere(draft, target);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
    await syncPath(join(home, VERSIONS));
  }
  await rm(join(target, RETIRED), { force: true });
  await switchLink(join(home, CURRENT), `${VERSIONS}/${version}`);
  await switchLink(join(bin, EXECUTABLE), `${hostHome}/${CURRENT}/${EXECUTABLE}`);
  return version;
}

/** Returns true if the file was changed. */
export async function installConfiguration(
  places: Pick<InstallPlaces, "bin" | "conf">,
  facts: Omit<CniConfigurationFacts, "hasPortmap">,
): Promise<boolean> {
  const content = formatCniConfiguration({ ...facts, hasPortmap: await exists(join(places.bin, "portmap")) });
  const path = join(places.conf, CONFIGURATION_FILE);
  const before = await readFile(path, "utf8").catch(() => undefined);
  if (before === content) return false;
  await writeDurably(path, content, { mode: 0o644 });
  return true;
}

/** Removes versions that were replaced a retirement time ago, and stale drafts. Never removes the current version. */
export async function removeOldVersions({ home, bin, conf }: InstallPlaces, now: number): Promise<void> {
  const isOld = async (path: string) => now - (await lstat(path)).mtimeMs > RETIREMENT_MS;
  for (const folder of [home, join(home, VERSIONS), bin, conf]) {
    if (await exists(folder)) await removeDrafts(folder, isOld);
  }
  if (!(await exists(join(home, VERSIONS)))) return;
  const current = basename(await readlink(join(home, CURRENT)));
  for (const name of await readdir(join(home, VERSIONS))) {
    const mark = join(home, VERSIONS, name, RETIRED);
    if (name === current || name.startsWith(".")) continue;
    if (!(await exists(mark))) {
      await writeFile(mark, "");
      await utimes(mark, now / 1000, now / 1000);
    } else if (await isOld(mark)) await rm(join(home, VERSIONS, name), { recursive: true, force: true });
  }
}

/** Removes everything, the configuration first, because then runtimes no longer call the executable. */
export async function uninstall({ home, bin, conf }: InstallPlaces): Promise<void> {
  await rm(join(conf, CONFIGURATION_FILE), { force: true });
  await rm(join(bin, EXECUTABLE), { force: true });
  await rm(join(home, CURRENT), { force: true });
  await rm(join(home, VERSIONS), { recursive: true, force: true });
  for (const folder of [home, bin, conf]) if (await exists(folder)) await removeDrafts(folder, async () => true);
}

interface InstallFile {
  from: string;
  /** Within a version. */
  to: string;
  mode: number;
}

async function listFiles({ folder, node }: InstallSource): Promise<InstallFile[]> {
  const executable = join(folder, EXECUTABLE);
  if (!(await exists(executable))) {
    throw new Error(`${executable} is not there: the agent installs from its own build (npm run build)`);
  }
  const parts = (await readdir(join(folder, "lib"))).filter(name => PARTS.has(name));
  return [
    { from: executable, to: EXECUTABLE, mode: 0o755 },
    { from: join(folder, "package.json"), to: "package.json", mode: 0o644 },
    ...parts.sort().map(name => ({ from: join(folder, "lib", name), to: `lib/${name}`, mode: 0o755 })),
    { from: node, to: "bin/node", mode: 0o755 },
  ];
}

async function hashFiles(files: readonly InstallFile[]): Promise<string> {
  const hash = createHash("sha256");
  for (const { from, to } of files) {
    hash.update(`${to} ${(await stat(from)).size}\n`);
    await pipeline(createReadStream(from), hash, { end: false });
  }
  return hash.digest("hex").slice(0, 16);
}

/** The shebang names the runtime of this version, so that versions never mix. */
async function copyFiles(files: readonly InstallFile[], folder: string, node: string): Promise<void> {
  for (const part of ["", "bin", "lib"]) await mkdir(join(folder, part), { mode: 0o755 });
  for (const { from, to, mode } of files) {
    if (to !== EXECUTABLE) await copySynced(from, join(folder, to), mode);
    else
      await writeDurably(join(folder, to), (await readFile(from, "utf8")).replace(/^#!.*\n/, `#!${node}\n`), { mode });
  }
  for (const part of ["bin", "lib", ""]) await syncPath(join(folder, part));
}

/** Succeeds if another installer of the same version was faster. */
async function renameUnlessThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!(await exists(to))) throw error;
  }
}

async function switchLink(path: string, target: string): Promise<void> {
  const before = await readlink(path).catch(() => undefined);
  if (before !== target) await linkDurably(path, target);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
