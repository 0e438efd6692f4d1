import { performance } from "node:perf_hooks";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import type { Round } from "../alternate.ts";
import type { BenchContext } from "../context.ts";
import type { LoadResult } from "../load/load.ts";
import { benchClaim, benchRelease } from "./workload.ts";

const FILL_BATCH = 1000;
const CALLER = "bench";

/** Claims ports `from` to `to` (exclusive) of the series that stays. */
export async function fillStore(context: BenchContext, store: Store, from: number, to: number): Promise<void> {
  const started = performance.now();
  for (let first = from; first < to; first += FILL_BATCH) {
    context.signal.throwIfAborted();
    const size = Math.min(FILL_BATCH, to - first);
    const { failed, firstFailure } = await commit(store, "claim", "kept", first, size);
    if (failed > 0) throw new Error(`the database could not be filled: ${firstFailure}`);
  }
  const seconds = (performance.now() - started) / 1000;
  context.progress(`  ${to - from} ports claimed in ${seconds.toFixed(1)} s`);
}

/** One round of batches, one after the other, straight into the store in this process. */
export async function loadStore(store: Store, series: string, batch: number, seconds: number): Promise<Round> {
  const claim = await repeat(store, "claim", series, batch, { seconds, count: Number.POSITIVE_INFINITY });
  const release = await repeat(store, "release", series, batch, { seconds: 600, count: claim.done + claim.failed });
  return { claim, release };
}

async function repeat(
  store: Store,
  kind: "claim" | "release",
  series: string,
  batch: number,
  until: { seconds: number; count: number },
): Promise<LoadResult> {
  const total: LoadResult = { done: 0, failed: 0, seconds: 0, latenciesMs: [], generatorBusy: 0 };
  for (let first = 0; first < until.count && total.seconds < until.seconds; first += batch) {
    const { done, failed, firstFailure, elapsedMs } = await commit(store, kind, series, first, batch);
    total.latenciesMs.push(elapsedMs);
    // Only the store's own time: building a batch is the caller's work.
    total.seconds += elapsedMs / 1000;
    total.done += done;
    total.failed += failed;
    if (firstFailure !== undefined) total.firstFailure ??= firstFailure;
  }
  return total;
}

async function commit(store: Store, kind: "claim" | "release", series: string, first: number, size: number) {
  const batch = Array.from(
    { length: size },
    (_, offset): Mutation =>
      kind === "claim"
        ? { kind, claim: benchClaim(series, first + offset), caller: CALLER }
        : { kind, release: benchRelease(series, first + offset), caller: CALLER },
  );
  const startedAt = performance.now();
  const outcomes = await store.commit(batch);
  const elapsedMs = performance.now() - startedAt;
  const bad = outcomes.filter(outcome => "problem" in outcome || ("released" in outcome && !outcome.released));
  return { done: size - bad.length, failed: bad.length, firstFailure: bad[0] && JSON.stringify(bad[0]), elapsedMs };
}
