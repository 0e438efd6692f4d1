import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "../../ipam-server/storage/sqlite/sqlite-store.ts";
import { alternate, type Comparison, type Round, SIDES, type Side } from "./alternate.ts";
import type { BenchContext } from "./context.ts";
import { IpamProcess } from "./ipam-process.ts";
import { reportIpam } from "./ipam-report.ts";
import { type LoadPhase, type LoadResult, runLoad } from "./load/load.ts";
import type { BenchReport } from "./report.ts";
import { fillStore, loadStore } from "./store-load.ts";
import { benchNetworks } from "./workload.ts";

export interface IpamOptions {
  /** Ports held beside the empty database, ascending. */
  held: readonly number[];
  /** Length of one round of claims. */
  seconds: number;
}

/** One way of claiming, measured on both sides. */
export interface Measurement {
  how: string;
  connections: number | undefined;
  batch: number;
  comparison: Comparison;
}

export interface Level {
  held: number;
  measurements: Measurement[];
  residentBytes: Record<Side, number>;
}

const BATCH = 100;
const HTTP_SHAPES = [
  { connections: 1, batch: 1 },
  { connections: 8, batch: 1 },
  { connections: 64, batch: 1 },
  { connections: 1, batch: BATCH },
  { connections: 4, batch: BATCH },
] as const;

type Databases = Record<Side, string>;

export async function benchIpam(context: BenchContext, options: IpamOptions): Promise<BenchReport> {
  const directory = await mkdtemp(join(tmpdir(), "mooring-bench-"));
  try {
    const levels: Level[] = [];
    const filled = join(directory, "filled.db");
    let held = 0;
    for (const level of options.held) {
      context.progress(`ipam: filling the database to ${level} ports`);
      await fill(context, filled, held, level);
      held = level;
      levels.push(await measureLevel(context, directory, filled, level, options.seconds));
    }
    return reportIpam(levels);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function fill(context: BenchContext, path: string, from: number, to: number): Promise<void> {
  await using store = await openSqliteStore({ path });
  if (from === 0) for (const network of benchNetworks()) await store.putNetwork(network, "bench");
  await fillStore(context, store, from, to);
}

/** Measures on copies, so that every level starts from a database nobody has worn. */
async function measureLevel(
  context: BenchContext,
  directory: string,
  filled: string,
  held: number,
  seconds: number,
): Promise<Level> {
  const databases: Databases = {
    empty: join(directory, `empty-${held}.db`),
    held: join(directory, `held-${held}.db`),
  };
  await fill(context, databases.empty, 0, 0);
  await copyFile(filled, databases.held);
  context.progress(`ipam: ${held} held beside empty: the store in this process`);
  const inProcess = await measureStore(databases, seconds);
  const overHttp = await measureHttp(context, databases, held, seconds);
  for (const path of Object.values(databases)) await rm(path, { force: true });
  return { held, ...overHttp, measurements: [inProcess, ...overHttp.measurements] };
}

async function measureStore(databases: Databases, seconds: number): Promise<Measurement> {
  await using empty = await openSqliteStore({ path: databases.empty });
  await using held = await openSqliteStore({ path: databases.held });
  const comparison = await alternate({
    empty: index => loadStore(empty, `store-${index}`, BATCH, seconds),
    held: index => loadStore(held, `store-${index}`, BATCH, seconds),
  });
  return { how: "store, in process", connections: undefined, batch: BATCH, comparison };
}

async function measureHttp(
  context: BenchContext,
  databases: Databases,
  held: number,
  seconds: number,
): Promise<Pick<Level, "measurements" | "residentBytes">> {
  await using stack = new AsyncDisposableStack();
  const servers = {
    empty: stack.use(await IpamProcess.start(context, databases.empty)),
    held: stack.use(await IpamProcess.start(context, databases.held)),
  };
  const measurements: Measurement[] = [];
  for (const { connections, batch } of HTTP_SHAPES) {
    context.signal.throwIfAborted();
    context.progress(`ipam: ${held} held beside empty: HTTP, ${connections} connections, batches of ${batch}`);
    const round = (side: Side) => (index: number) =>
      loadServer(servers[side], `http-${connections}-${batch}-${index}`, connections, batch, seconds);
    const comparison = await alternate({ empty: round("empty"), held: round("held") });
    measurements.push({ how: "HTTP", connections, batch, comparison });
  }
  const residentBytes = { empty: 0, held: 0 };
  for (const side of SIDES) residentBytes[side] = await servers[side].residentBytes();
  return { measurements, residentBytes };
}

async function loadServer(
  server: IpamProcess,
  series: string,
  connections: number,
  batch: number,
  seconds: number,
): Promise<Round> {
  const { host, port } = server;
  const phase = { host, port, connections, batch, series, first: 0 } satisfies Partial<LoadPhase>;
  const claim: LoadResult = await runLoad({ ...phase, kind: "claim", seconds });
  const release: LoadResult = await runLoad({ ...phase, kind: "release", count: claim.done + claim.failed });
  return { claim, release };
}
