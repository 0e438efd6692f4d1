import type { Round } from "../alternate.ts";
import type { BenchContext } from "../context.ts";
import type { Databases } from "../databases/databases.ts";
import { type LoadPhase, type LoadResult, runLoad } from "../load/load.ts";
import { readUsage, type Usage } from "../process-usage.ts";
import { IpamProcess } from "./ipam-process.ts";

/** Servers on one database, and the load on them all. */
export class IpamServers implements AsyncDisposable {
  readonly #databases: Databases;
  readonly #servers: readonly IpamProcess[];

  private constructor(databases: Databases, servers: readonly IpamProcess[]) {
    this.#databases = databases;
    this.#servers = servers;
  }

  static async start(
    context: BenchContext,
    databases: Databases,
    database: string,
    count: number,
  ): Promise<IpamServers> {
    await using stack = new AsyncDisposableStack();
    const servers: IpamProcess[] = [];
    for (let index = 0; index < count; index++) servers.push(stack.use(await IpamProcess.start(context, database)));
    stack.move();
    return new IpamServers(databases, servers);
  }

  /** New ports are claimed as long as the round takes, then all are released. */
  async round(series: string, connections: number, batch: number, seconds: number, byZone: boolean): Promise<Round> {
    const targets = this.#servers.map(({ host, port }) => ({ host, port }));
    const phase = { targets, connections, byZone, batch, series, first: 0 } satisfies Partial<LoadPhase>;
    const claim = await this.#measured({ ...phase, kind: "claim", seconds });
    const release = await this.#measured({ ...phase, kind: "release", count: claim.done + claim.failed });
    return { claim, release };
  }

  /** Of each server. */
  readResidentBytes(): Promise<number[]> {
    return Promise.all(this.#pids().map(async pid => (await readUsage([pid])).residentBytes));
  }

  async #measured(phase: LoadPhase): Promise<LoadResult> {
    const before = await this.#readUsage();
    const result = await runLoad(phase);
    const after = await this.#readUsage();
    const used = (who: "servers" | "database") => after[who].cpuSeconds - before[who].cpuSeconds;
    return { ...result, cpuSeconds: { servers: used("servers"), database: used("database") } };
  }

  async #readUsage(): Promise<{ servers: Usage; database: Usage }> {
    return {
      servers: await readUsage(this.#pids()),
      database: await readUsage(await this.#databases.pids()),
    };
  }

  #pids(): number[] {
    return this.#servers.map(({ pid }) => {
      if (pid === undefined) throw new Error("a server ended during the measurement");
      return pid;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map(server => server[Symbol.asyncDispose]()));
  }
}
