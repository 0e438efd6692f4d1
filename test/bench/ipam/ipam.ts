import { alternate, type Comparison, type Figures, SIDES, type Side, summarize } from "../alternate.ts";
import type { BenchContext } from "../context.ts";
import { type Databases, type Engine, openDatabases } from "../databases/databases.ts";
import type { BenchReport } from "../report.ts";
import { reportIpam } from "./ipam-report.ts";
import { IpamServers } from "./ipam-servers.ts";
import { fillStore, loadStore } from "./store-load.ts";
import { benchNetworks } from "./workload.ts";

export interface IpamOptions {
  database: Engine;
  /** Servers on one database. */
  replicas: number;
  /** Ports held by the databases that are compared with an empty one, ascending. */
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

/** Two sides that differ in one thing. */
export interface Pairing {
  names: Record<Side, string>;
  /** Ports held on the other side; 0 where the sides differ by something else. */
  held: number;
  /** How many times as slow claims may be on the other side, where that is a bar of its own. */
  limit?: number;
  measurements: Measurement[];
  /** Of each server. */
  residentBytes: Record<Side, number[]>;
  databaseBytes: Record<Side, number>;
}

/** The engine alone, with rows as large. */
export interface PeerFigures extends Figures {
  connections: number;
  batch: number;
}

export interface IpamResult {
  options: IpamOptions;
  pairings: Pairing[];
  peer: PeerFigures[];
  about: string[];
}

const BATCH = 100;
/** As many as a subnet may have. */
const EXCLUSIONS = 4096;
const HTTP_SHAPES = [
  { connections: 1, batch: 1 },
  { connections: 8, batch: 1 },
  { connections: 64, batch: 1 },
  { connections: 1, batch: BATCH },
  { connections: 4, batch: BATCH },
] as const;
const PEER_SHAPES = {
  sqlite: [
    { connections: 1, batch: 1 },
    { connections: 1, batch: BATCH },
  ],
  postgres: HTTP_SHAPES.filter(({ connections }) => connections < 64),
} as const;

export async function benchIpam(context: BenchContext, options: IpamOptions): Promise<BenchReport> {
  await using databases = await openDatabases(options.database);
  const peer = await measurePeer(context, databases, options.seconds);
  const pairings: Pairing[] = [];
  if (options.replicas > 1) pairings.push(await compareReplicas(context, databases, options));
  pairings.push(await compareExclusions(context, databases, options.seconds));
  const filled = await databases.create();
  let held = 0;
  for (const level of options.held) {
    context.progress(`ipam: filling the database to ${level} ports`);
    await fill(context, databases, filled, held, level);
    held = level;
    pairings.push(await compareHeld(context, databases, filled, level, options));
  }
  return reportIpam({ options, pairings, peer, about: await databases.describe() });
}

async function fill(
  context: BenchContext,
  databases: Databases,
  database: string,
  from: number,
  to: number,
  exclusions = 0,
): Promise<void> {
  await using store = await databases.open(database);
  if (from === 0) for (const network of benchNetworks(exclusions)) await store.putNetwork(network, "bench");
  if (to === from) return;
  await fillStore(context, store, from, to);
  await databases.settle(database);
}

async function createEmpty(context: BenchContext, databases: Databases, exclusions = 0): Promise<string> {
  const database = await databases.create();
  await fill(context, databases, database, 0, 0, exclusions);
  return database;
}

async function measurePeer(context: BenchContext, databases: Databases, seconds: number): Promise<PeerFigures[]> {
  const figures: PeerFigures[] = [];
  for (const { connections, batch } of PEER_SHAPES[databases.engine]) {
    context.signal.throwIfAborted();
    context.progress(`ipam: ${databases.engine} alone, ${connections} connections, batches of ${batch}`);
    const rounds = [];
    for (let round = 0; round < 2; round++) rounds.push(await databases.insertRows(connections, batch, seconds));
    figures.push({ connections, batch, ...summarize(rounds) });
  }
  return figures;
}

/** Measures on copies, so that every level starts from an unused database. */
async function compareHeld(
  context: BenchContext,
  databases: Databases,
  filled: string,
  held: number,
  options: IpamOptions,
): Promise<Pairing> {
  const sides = { base: await createEmpty(context, databases), other: await databases.copy(filled) };
  context.progress(`ipam: ${held} held and empty: the store in this process`);
  const inProcess = await measureStores(databases, sides, BATCH, options.seconds);
  const names = { base: "empty", other: `${held.toLocaleString("en-US")} held` };
  const counts = { base: options.replicas, other: options.replicas };
  const served = await measureServers(context, databases, sides, counts, names, options);
  for (const side of SIDES) await databases.drop(sides[side]);
  return { names, held, ...served, measurements: [inProcess, ...served.measurements] };
}

async function compareReplicas(context: BenchContext, databases: Databases, options: IpamOptions): Promise<Pairing> {
  const sides = { base: await createEmpty(context, databases), other: await createEmpty(context, databases) };
  const names = { base: "1 server", other: `${options.replicas} servers` };
  const counts = { base: 1, other: options.replicas };
  const served = await measureServers(context, databases, sides, counts, names, options);
  for (const side of SIDES) await databases.drop(sides[side]);
  return { names, held: 0, ...served };
}

/** The store's own work: in this process. */
async function compareExclusions(context: BenchContext, databases: Databases, seconds: number): Promise<Pairing> {
  context.progress(`ipam: ${EXCLUSIONS} exclusions a network and none: the store in this process`);
  const sides = {
    base: await createEmpty(context, databases),
    other: await createEmpty(context, databases, EXCLUSIONS),
  };
  const measurements: Measurement[] = [];
  for (const batch of [1, BATCH]) measurements.push(await measureStores(databases, sides, batch, seconds));
  const databaseBytes = { base: await databases.sizeOf(sides.base), other: await databases.sizeOf(sides.other) };
  for (const side of SIDES) await databases.drop(sides[side]);
  const names = { base: "no exclusions", other: `${EXCLUSIONS.toLocaleString("en-US")} exclusions a network` };
  return { names, held: 0, limit: 2, measurements, residentBytes: { base: [], other: [] }, databaseBytes };
}

async function measureStores(
  databases: Databases,
  sides: Record<Side, string>,
  batch: number,
  seconds: number,
): Promise<Measurement> {
  await using base = await databases.open(sides.base);
  await using other = await databases.open(sides.other);
  const comparison = await alternate({
    base: index => loadStore(base, `store-${batch}-${index}`, batch, seconds),
    other: index => loadStore(other, `store-${batch}-${index}`, batch, seconds),
  });
  return { how: "store, in process", connections: undefined, batch, comparison };
}

async function measureServers(
  context: BenchContext,
  databases: Databases,
  sides: Record<Side, string>,
  counts: Record<Side, number>,
  names: Record<Side, string>,
  { replicas, seconds }: IpamOptions,
): Promise<Pick<Pairing, "measurements" | "residentBytes" | "databaseBytes">> {
  await using stack = new AsyncDisposableStack();
  const start = async (side: Side) => stack.use(await IpamServers.start(context, databases, sides[side], counts[side]));
  const servers = { base: await start("base"), other: await start("other") };
  const measurements: Measurement[] = [];
  for (const { connections, batch } of HTTP_SHAPES) {
    context.signal.throwIfAborted();
    const sidesText = `${names.other} and ${names.base}`;
    context.progress(`ipam: ${sidesText}: HTTP, ${connections} connections, batches of ${batch}`);
    const round = (side: Side) => (index: number) =>
      servers[side].round(`http-${connections}-${batch}-${index}`, connections, batch, seconds, replicas > 1);
    const comparison = await alternate({ base: round("base"), other: round("other") });
    measurements.push({ how: "HTTP", connections, batch, comparison });
  }
  const residentBytes = {
    base: await servers.base.readResidentBytes(),
    other: await servers.other.readResidentBytes(),
  };
  const databaseBytes = { base: await databases.sizeOf(sides.base), other: await databases.sizeOf(sides.other) };
  return { measurements, residentBytes, databaseBytes };
}
