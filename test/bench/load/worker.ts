import { performance } from "node:perf_hooks";
import { parentPort, workerData } from "node:worker_threads";
import { benchClaim, benchRelease, ZONES } from "../ipam/workload.ts";
import { RawConnection } from "./connection.ts";
import type { LoadPhase, LoadResult } from "./load.ts";

const phase: LoadPhase = workerData;
const { series, batch, kind, count = Number.POSITIVE_INFINITY, seconds = Number.POSITIVE_INFINITY } = phase;
const result: LoadResult = { done: 0, failed: 0, seconds: 0, latenciesMs: [], generatorBusy: 0 };

await using stack = new AsyncDisposableStack();
const connections: RawConnection[] = [];
for (let index = 0; index < phase.connections; index += 1) {
  const target = phase.targets[index % phase.targets.length];
  if (target) connections.push(stack.use(await RawConnection.open(target.host, target.port)));
}

let next = 0;
const started = performance.now();
const busyAtStart = performance.eventLoopUtilization();
const endsAt = started + seconds * 1000;
await Promise.all(connections.map(drive));
result.seconds = (performance.now() - started) / 1000;
result.generatorBusy = performance.eventLoopUtilization(busyAtStart).utilization;
parentPort?.postMessage(result);

async function drive(connection: RawConnection, index: number): Promise<void> {
  const zone = phase.byZone ? index % ZONES : undefined;
  while (next < count && performance.now() < endsAt) {
    const first = next;
    const size = Math.min(batch, count - first);
    next += size;
    const body = buildBody(phase.first + first, size, zone);
    const sentAt = performance.now();
    const { status, body: answer } = await connection.post(kind === "claim" ? "/v1/claims" : "/v1/releases", body);
    result.latenciesMs.push(performance.now() - sentAt);
    // A claim that failed alone carries a problem, a release that found nothing says released: false.
    if (status === 200 && !answer.includes(kind === "claim" ? '"problem":' : '"released":false')) {
      result.done += size;
    } else {
      result.failed += size;
      result.firstFailure ??= `${status} ${answer.toString("utf8", 0, 500)}`;
    }
  }
}

function buildBody(from: number, size: number, zone: number | undefined): string {
  const items = Array.from({ length: size }, (_, offset) =>
    kind === "claim" ? benchClaim(series, from + offset, zone) : benchRelease(series, from + offset),
  );
  return JSON.stringify(kind === "claim" ? { claims: items } : { releases: items });
}
