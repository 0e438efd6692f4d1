import type { LoadResult } from "./load/load.ts";
import { quantile } from "./quantile.ts";

/** The same work on an empty database and on one that holds many ports. */
export const SIDES = ["empty", "held"] as const;
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
}

export interface Call extends Record<Side, Figures> {
  /** Rate of empty / rate of held. */
  ratio: number;
}

export type Comparison = Record<keyof Round, Call>;

/** In this order (Thue-Morse) what the machine gains or loses during the run weighs on both sides alike. */
const ORDER: readonly Side[] = ["empty", "held", "held", "empty", "held", "empty", "empty", "held"];

export async function alternate(rounds: Record<Side, (index: number) => Promise<Round>>): Promise<Comparison> {
  const results: Record<Side, Round[]> = { empty: [], held: [] };
  for (const [index, side] of ORDER.entries()) results[side].push(await rounds[side](index));
  const compare = (kind: keyof Round): Call => {
    const empty = results.empty.map(round => round[kind]);
    const held = results.held.map(round => round[kind]);
    return { empty: summarize(empty), held: summarize(held), ratio: rateOf(empty) / rateOf(held) };
  };
  return { claim: compare("claim"), release: compare("release") };
}

/** Over all rounds, not their median: a stall that only some rounds meet, such as a checkpoint of the log, counts too. */
function rateOf(results: readonly LoadResult[]): number {
  const sum = (pick: (result: LoadResult) => number) => results.reduce((total, result) => total + pick(result), 0);
  return sum(({ done }) => done) / sum(({ seconds }) => seconds);
}

function summarize(results: readonly LoadResult[]): Figures {
  const latencies = results.flatMap(({ latenciesMs }) => latenciesMs);
  const firstFailure = results.find(result => result.firstFailure !== undefined)?.firstFailure;
  return {
    perSecond: rateOf(results),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    failed: results.reduce((sum, { failed }) => sum + failed, 0),
    generatorBusy: Math.max(...results.map(({ generatorBusy }) => generatorBusy)),
    ...(firstFailure !== undefined && { firstFailure }),
  };
}
