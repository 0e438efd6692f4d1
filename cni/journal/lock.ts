import fs from "node:fs";
import { hasCode } from "./journal.ts";

/**
 * Prevents concurrent deliveries of one journal. Undefined if another process holds the lock. The lock is a symbolic
 * link with the holder's pid and start time, so that a dead holder's lock is broken even if its pid is in use again.
 */
export async function lockJournal(dir: string): Promise<AsyncDisposable | undefined> {
  const path = `${dir}/.delivering`;
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await fs.promises.symlink(readHolder("self") ?? "unknown", path);
      return { [Symbol.asyncDispose]: () => fs.promises.rm(path, { force: true }) };
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
    const holder = await fs.promises.readlink(path).catch(() => "");
    const [pid = ""] = holder.split(" ");
    if (readHolder(pid) === holder) return undefined;
    await fs.promises.rm(path, { force: true });
  }
  return undefined;
}

/** `PID START`, where START is the process's start time in clock ticks since boot (proc_pid_stat(5), field 22). */
function readHolder(pid: string): string | undefined {
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
