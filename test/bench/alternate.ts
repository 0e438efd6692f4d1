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

export interface Comparison {
  claim: Record<Side, Figures>;
  release: Record<Side, Figures>;
}

/** Measured in this order, what the machine gains or loses during the run weighs on both sides alike. */
const ORDER: readonly Side[] = ["empty", "held", "held", "empty"];

export async function alternate(rounds: Record<Side, (index: number) => Promise<Round>>): Promise<Comparison> {
  const results: Record<Side, Round[]> = { empty: [], held: [] };
  for (const [index, side] of ORDER.entries()) results[side].push(await rounds[side](index));
  const figures = (kind: keyof Round) => ({
    empty: summarize(results.empty.map(round => round[kind])),
    held: summarize(results.held.map(round => round[kind])),
  });
  return { claim: figures("claim"), release: figures("release") };
}

function summarize(results: readonly LoadResult[]): Figures {
  const sum = (pick: (result: LoadResult) => number) => results.reduce((total, result) => total + pick(result), 0);
  const latencies = results.flatMap(({ latenciesMs }) => latenciesMs);
  const firstFailure = results.find(result => result.firstFailure !== undefined)?.firstFailure;
  return {
    perSecond: sum(({ done }) => done) / sum(({ seconds }) => seconds),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    failed: sum(({ failed }) => failed),
    generatorBusy: Math.max(...results.map(({ generatorBusy }) => generatorBusy)),
    ...(firstFailure !== undefined && { firstFailure }),
  };
}
