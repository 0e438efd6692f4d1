import type { Databases } from "../databases/databases.ts";
import type { IpamProcess } from "../ipam/ipam-process.ts";
import { readUsage } from "../process-usage.ts";
import type { Fleet } from "./fleet.ts";
import { mergeSeen, type Seen } from "./record.ts";

/** What one phase came to. */
export interface PhaseFigures {
  name: string;
  seconds: number;
  seen: Seen;
  /** Answered by all servers; unknown where a server ended meanwhile. */
  requests: number | undefined;
  /** Claims, releases and reports that they committed. */
  items: number | undefined;
  commits: number | undefined;
  /** Of each server at the end; a server that is down has none. */
  residentBytes: number[];
  serverCpuSeconds: number;
  databaseCpuSeconds: number;
  /** The servers' own event loops, the worst. */
  serverLoopP99Ms: number | undefined;
  /** The simulator's, the worst. */
  simulatorLoopP99Ms: number;
  simulatorLoopMaxMs: number;
  simulatorBusy: number;
  /** What a person should know besides. */
  remarks: string[];
}

interface Counters {
  at: number;
  requests: number;
  items: number;
  commits: number;
  loopP99Ms: number;
  serverCpuSeconds: number;
  databaseCpuSeconds: number;
  pids: string;
}

/** Measures servers and agents from one reading to the next. */
export class Meter {
  readonly #servers: readonly IpamProcess[];
  readonly #databases: Databases;
  readonly #fleet: Fleet;

  constructor(servers: readonly IpamProcess[], databases: Databases, fleet: Fleet) {
    this.#servers = servers;
    this.#databases = databases;
    this.#fleet = fleet;
  }

  async measure(name: string, phase: (remark: (text: string) => void) => Promise<void>): Promise<PhaseFigures> {
    const remarks: string[] = [];
    await this.#fleet.take();
    const before = await this.#read();
    await phase(text => remarks.push(text));
    const after = await this.#read();
    const workers = await this.#fleet.take();
    const isSame = before.pids === after.pids;
    const worst = (pick: (worker: (typeof workers)[number]) => number) => Math.max(...workers.map(pick));
    return {
      name,
      seconds: (after.at - before.at) / 1000,
      seen: mergeSeen(workers.map(({ seen }) => seen)),
      requests: isSame ? after.requests - before.requests : undefined,
      items: isSame ? after.items - before.items : undefined,
      commits: isSame ? after.commits - before.commits : undefined,
      residentBytes: await Promise.all(
        this.#servers.map(async ({ pid }) => (await readUsage(pid === undefined ? [] : [pid])).residentBytes),
      ),
      // A process that began meanwhile began at nothing.
      serverCpuSeconds: after.serverCpuSeconds - (isSame ? before.serverCpuSeconds : 0),
      databaseCpuSeconds: after.databaseCpuSeconds - before.databaseCpuSeconds,
      serverLoopP99Ms: isSame ? after.loopP99Ms : undefined,
      simulatorLoopP99Ms: worst(({ loopDelayP99Ms }) => loopDelayP99Ms),
      simulatorLoopMaxMs: worst(({ loopDelayMaxMs }) => loopDelayMaxMs),
      simulatorBusy: worst(({ busy }) => busy),
      remarks,
    };
  }

  async #read(): Promise<Counters> {
    const pids = this.#servers.flatMap(({ pid }) => pid ?? []);
    const pages = await Promise.all(this.#servers.map(({ url }) => readMetrics(url)));
    const sum = (pattern: RegExp) =>
      pages.reduce(
        (total, page) => total + [...page.matchAll(pattern)].reduce((of, [, text]) => of + Number(text), 0),
        0,
      );
    const loop = pages.map(page => Number(/^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(page)?.[1] ?? 0));
    return {
      at: performance.now(),
      requests: sum(/^mooring_http_request_seconds_count\{.*\} (\S+)$/gm),
      items: sum(/^mooring_commit_items_sum (\S+)$/gm),
      commits: sum(/^mooring_commit_items_count (\S+)$/gm),
      loopP99Ms: Math.max(...loop) * 1000,
      serverCpuSeconds: (await readUsage(pids)).cpuSeconds,
      databaseCpuSeconds: (await readUsage(await this.#databases.pids())).cpuSeconds,
      pids: pids.join(),
    };
  }
}

/** Nothing while the server is down. */
const readMetrics = (url: string): Promise<string> =>
  fetch(`${url}/metrics`).then(
    response => response.text(),
    () => "",
  );
