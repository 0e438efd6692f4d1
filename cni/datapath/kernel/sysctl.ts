import { writeFileSync } from "node:fs";
import { DatapathError } from "../datapath-error.ts";

/**
 * Writes `/proc/sys/net/<family>/conf/<interface>/<key>` of the namespace that the calling thread is in.
 * Synchronous for that reason. A kernel without IPv6 has no `ipv6` tree: that is no failure, there is nothing to switch.
 */
export function writeInterfaceSysctl(family: "ipv4" | "ipv6", name: string, key: string, value: number): void {
  const path = `/proc/sys/net/${family}/conf/${name}/${key}`;
  try {
    // Not created nor truncated: that costs look-ups, and a kernel's file is there or is not.
    writeFileSync(path, String(value), { flag: "r+" });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" && family === "ipv6") return;
    throw new DatapathError("configure", `cannot set ${path} to ${value}: ${code}`, error);
  }
}
