import type { LoadResult } from "./load/load.ts";
import { quantile } from "./quantile.ts";

/** The same work on two sides: an empty database and one that holds many ports, or one server and several. */
export const SIDES = ["base", "other"] as const;
export type Side = (typeof SIDES)[number];

/** One round: new names claimed, then all of them released, so that the database is as it was. */
export interface Round {
  claim: LoadResult;
  release: LoadResult;
}

export interface Figures {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  failed: number;
  firstFailure?: string;
  generatorBusy: number;
  /** CPU of all servers, and of the database's processes, for one claim or release. */
  serverCpuMs?: number;
  databaseCpuMs?: number;
}

export interface Call extends Record<Side, Figures> {
  /** Rate of base / rate of other. */
  ratio: number;
}

export type Comparison = Record<keyof Round, Call>;

/** In this order (Thue-Morse) what the machine gains or loses during the run weighs on both sides alike. */
const ORDER: readonly Side[] = ["base", "other", "other", "base", "other", "base", "base", "other"];

export async function alternate(rounds: Record<Side, (index: number) => Promise<Round>>): Promise<Comparison> {
  const results: Record<Side, Round[]> = { base: [], other: [] };
  for (const [index, side] of ORDER.entries()) results[side].push(await rounds[side](index));
  const compare = (kind: keyof Round): Call => {
    const base = results.base.map(round => round[kind]);
    const other = results.other.map(round => round[kind]);
    return { base: summarize(base), other: summarize(other), ratio: rateOf(base) / rateOf(other) };
  };
  return { claim: compare("claim"), release: compare("release") };
}

const sumOf = (results: readonly LoadResult[], pick: (result: LoadResult) => number): number =>
  results.reduce((total, result) => total + pick(result), 0);

/** Over all rounds, not their median: a stall in only some rounds, such as a checkpoint of the log, counts too. */
export const rateOf = (results: readonly LoadResult[]): number =>
  sumOf(results, ({ done }) => done) / sumOf(results, ({ seconds }) => seconds);

export function summarize(results: readonly LoadResult[]): Figures {
  const latencies = results.flatMap(({ latenciesMs }) => latenciesMs);
  const firstFailure = results.find(result => result.firstFailure !== undefined)?.firstFailure;
  const items = sumOf(results, ({ done, failed }) => done + failed);
  const areMeasured = results.every(({ cpuSeconds }) => cpuSeconds !== undefined);
  return {
    perSecond: rateOf(results),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    failed: sumOf(results, ({ failed }) => failed),
    generatorBusy: Math.max(...results.map(({ generatorBusy }) => generatorBusy)),
    ...(firstFailure !== undefined && { firstFailure }),
    ...(areMeasured && {
      serverCpuMs: (1000 * sumOf(results, ({ cpuSeconds }) => cpuSeconds?.servers ?? 0)) / items,
      databaseCpuMs: (1000 * sumOf(results, ({ cpuSeconds }) => cpuSeconds?.database ?? 0)) / items,
    }),
  };
}
