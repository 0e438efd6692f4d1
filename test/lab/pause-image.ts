import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "../../scripts/lab/command.ts";

export const PAUSE_IMAGE = "docker.io/mooring-lab/pause:1";

const SOURCE = `#include <signal.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
`;

/** Builds the sandbox image for want of a registry: one static binary in a docker-archive. Gives the archive's path. */
export async function buildPauseImage(dir: string): Promise<string> {
  const root = join(dir, "root");
  mkdirSync(root, { recursive: true });
  writeFileSync(join(dir, "pause.c"), SOURCE);
  await must(["gcc", "-static", "-Os", "-o", join(root, "pause"), join(dir, "pause.c")]);
  await must(["tar", "-C", root, "--owner=0", "--group=0", "--mtime=@0", "-cf", join(dir, "layer.tar"), "pause"]);
  const config = {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Entrypoint: ["/pause"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${digest(readFileSync(join(dir, "layer.tar")))}`] },
  };
  const configName = `${digest(JSON.stringify(config))}.json`;
  writeFileSync(join(dir, configName), JSON.stringify(config));
  const manifest = [{ Config: configName, RepoTags: [PAUSE_IMAGE], Layers: ["layer.tar"] }];
  writeFileSync(join(dir, "manifest.json"), JSON.stringify(manifest));
  const archive = join(dir, "pause-image.tar");
  await must(["tar", "-C", dir, "-cf", archive, "manifest.json", configName, "layer.tar"]);
  return archive;
}

function digest(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}
