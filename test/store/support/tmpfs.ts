import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

/** A small disk, which root can make. */
export async function mountTmpfs(
  parent: string,
  name: string,
  options: string,
): Promise<AsyncDisposable & { path: string }> {
  const path = join(parent, name);
  await mkdir(path);
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path]);
  return {
    path,
    async [Symbol.asyncDispose]() {
      execFileSync("umount", ["--lazy", path]);
    },
  };
}
