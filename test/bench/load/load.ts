import { Worker } from "node:worker_threads";

/** One phase of load: closed loop, every connection sends its next request when the last one is answered. */
export interface LoadPhase {
  /** The servers; connections take turns at them. */
  targets: readonly { host: string; port: number }[];
  connections: number;
  /** Each connection's claims are for one production network, as those of one zone's nodes are; else for any. */
  byZone: boolean;
  /** Claims or releases a request. */
  batch: number;
  kind: "claim" | "release";
  /** Names the pods of this phase, `benchClaim(series, index)`. */
  series: string;
  /** Index of the first one. */
  first: number;
  /** Stop after this long, or after this many claims or releases, whichever comes first. */
  seconds?: number;
  count?: number;
}

export interface LoadResult {
  /** Claims or releases that were answered well. */
  done: number;
  failed: number;
  /** The first bad answer, for the person who looks for the fault. */
  firstFailure?: string;
  seconds: number;
  /** One a request, milliseconds. */
  latenciesMs: number[];
  /** 0 to 1: how busy the generator's own event loop was. Near 1 it measures itself, not the server. */
  generatorBusy: number;
  /** CPU time of all servers and of the database's processes; absent if they are not processes of their own. */
  cpuSeconds?: { servers: number; database: number };
}

/** Runs the phase in a thread of its own, so that the benchmark's own work does not disturb its clock. */
export async function runLoad(phase: LoadPhase): Promise<LoadResult> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: phase });
  const { promise, resolve, reject } = Promise.withResolvers<LoadResult>();
  worker.once("message", (result: LoadResult) => resolve(result));
  worker.once("error", reject);
  worker.once("exit", code => reject(new Error(`the load generator ended without a result (exit code ${code})`)));
  return await promise;
}
