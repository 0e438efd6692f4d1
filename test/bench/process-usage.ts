import { readFile } from "node:fs/promises";

/** What processes have used until now. */
export interface Usage {
  /** Pages that several of them share are counted once, in parts. */
  residentBytes: number;
  cpuSeconds: number;
}

/** Of /proc/PID/stat, as Linux builds it for all it runs on. */
const TICKS_PER_SECOND = 100;

/** Processes that have ended meanwhile count as nothing. */
export async function readUsage(pids: readonly number[]): Promise<Usage> {
  const total: Usage = { residentBytes: 0, cpuSeconds: 0 };
  for (const pid of pids) {
    const [memory, stat] = await Promise.all([read(pid, "smaps_rollup"), read(pid, "stat")]);
    total.residentBytes += Number(/^Pss:\s+(\d+) kB/m.exec(memory)?.[1] ?? 0) * 1024;
    // After the name, which may hold any text: its own time in user and system mode, and that of ended children.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    total.cpuSeconds += ticks / TICKS_PER_SECOND;
  }
  return total;
}

/** The process and those it has started. */
export async function familyOf(pid: number): Promise<number[]> {
  const children = await read(pid, `task/${pid}/children`);
  return [pid, ...children.split(" ").filter(Boolean).map(Number)];
}

const read = (pid: number, file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
