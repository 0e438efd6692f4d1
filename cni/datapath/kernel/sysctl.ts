import { writeFileSync } from "node:fs";
import { DatapathError } from "../datapath-error.ts";

/**
 * Writes `/proc/sys/net/<family>/conf/<interface>/<key>` in the calling thread's netns, hence synchronously. Ignores a
 * missing `ipv6` tree: the kernel has no IPv6.
 */
export function writeInterfaceSysctl(family: "ipv4" | "ipv6", name: string, key: string, value: number): void {
  const path = `/proc/sys/net/${family}/conf/${name}/${key}`;
  try {
    // Neither create nor truncate, which would cost look-ups: a sysctl's file exists or not.
    writeFileSync(path, String(value), { flag: "r+" });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" && family === "ipv6") return;
    throw new DatapathError("configure", `cannot set ${path} to ${value}: ${code}`, error);
  }
}
