import fs from "node:fs";
import { hasCode } from "./journal.ts";

/**
 * Keeps two processes from delivering one journal at once, to spare the IPAM the double work: double delivery itself is
 * harmless. The lock is a symbolic link, because one is made together with its content: the holder's pid and start time,
 * so that a holder that died, even one whose pid is in use again, does not lock for ever.
 * Undefined when somebody else holds the lock.
 */
export async function lockJournal(dir: string): Promise<AsyncDisposable | undefined> {
  const path = `${dir}/.delivering`;
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await fs.promises.symlink(describeHolder("self") ?? "unknown", path);
      return { [Symbol.asyncDispose]: () => fs.promises.rm(path, { force: true }) };
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
    const holder = await fs.promises.readlink(path).catch(() => "");
    const [pid = ""] = holder.split(" ");
    if (describeHolder(pid) === holder) return undefined;
    await fs.promises.rm(path, { force: true });
  }
  return undefined;
}

/** `PID START`, where START is the process's start time in clock ticks since boot (proc_pid_stat(5), field 22). */
function describeHolder(pid: string): string | undefined {
  if (pid !== "self" && !/^\d+$/.test(pid)) return undefined;
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command's name in brackets and may hold anything, brackets and spaces included.
    const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return `${stat.slice(0, stat.indexOf(" "))} ${rest[19]}`;
  } catch {
    return undefined;
  }
}
