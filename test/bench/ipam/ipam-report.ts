import { type Figures, SIDES } from "../alternate.ts";
import type { Bar, BenchReport, Table } from "../report.ts";
import type { IpamResult, Measurement, Pairing, PeerFigures } from "./ipam.ts";

/** Port creates a second of Neutron, as docs/design.md names them: a stated figure, never measured here. */
const STATED_NEUTRON_PER_SECOND = 10;
const MIB = 1024 * 1024;
const MAX_RESIDENT_MIB = 512;
/** Claims a second over HTTP: in batches, and one by one at 64 connections. */
const BARS = {
  sqlite: { batches: 15_000, singles: 4000 },
  postgres: { batches: 8000, singles: undefined },
} as const;
/** What two equal sides may differ by from run to run. */
const NOT_LESS = 0.95;

export function reportIpam({ options, pairings, peer, about }: IpamResult): BenchReport {
  const { database, replicas } = options;
  return {
    benchmark: "ipam",
    tables: [...pairings.flatMap(pairingTables), memoryTable(pairings), peerTable(database, peer)],
    bars: pairings.flatMap(pairing => {
      if (pairing.limit !== undefined) return limitBars(pairing, pairing.limit);
      return pairing.held > 0 ? heldBars(pairing, options) : replicaBars(pairing);
    }),
    notes: [
      ...about,
      "Every claim is of a new name by a selector that four of eight networks match, in no order of names, hosts and sandboxes; every round releases what it claimed.",
      ...(replicas > 1
        ? [
            `${replicas} servers on one database; connections take turns at them, and each asks for the network of one of four zones, as the nodes of one zone do: a selector that one of eight networks matches. With 1 connection the other servers idle.`,
          ]
        : []),
      "Four rounds each, both sides in turn; ratio: rate of the first / rate of the other.",
      "CPU: of all servers together, of the database's processes together; milliseconds for one claim or release, on the other side.",
      "The load generator is a thread of its own on the same machine; `generator` shows how busy it was.",
      ...failureNotes(pairings),
    ],
  };
}

const isPostgres = (pairing: Pairing): boolean =>
  pairing.measurements.some(({ comparison }) => (comparison.claim.other.databaseCpuMs ?? 0) > 0);

function pairingTables(pairing: Pairing): Table[] {
  const { names, measurements } = pairing;
  const columns = [
    { name: "how" },
    { name: "connections" },
    { name: "batch" },
    { name: "call" },
    { name: `${names.base}/s` },
    { name: "p50 ms", digits: 2 },
    { name: "p99 ms", digits: 2 },
    { name: `${names.other}/s` },
    { name: "p50 ms", digits: 2 },
    { name: "p99 ms", digits: 2 },
    { name: "ratio", digits: 2 },
    { name: "server CPU ms", digits: 3 },
    ...(isPostgres(pairing) ? [{ name: "database CPU ms", digits: 3 }] : []),
    { name: "generator", digits: 2 },
  ];
  const rows = measurements.flatMap(({ how, connections, batch, comparison }) =>
    (["claim", "release"] as const).map(call => {
      const { base, other } = comparison[call];
      return [
        ...[how, connections, batch, call, base.perSecond, base.p50Ms, base.p99Ms],
        ...[other.perSecond, other.p50Ms, other.p99Ms, comparison[call].ratio, other.serverCpuMs],
        ...(isPostgres(pairing) ? [other.databaseCpuMs] : []),
        other.generatorBusy || undefined,
      ];
    }),
  );
  return [{ title: `ipam: ${names.base} and ${names.other}`, columns, rows }];
}

function memoryTable(pairings: readonly Pairing[]): Table {
  return {
    title: "ipam: memory of each server after the load, and the database's size",
    columns: [{ name: "side" }, { name: "resident MiB of each server" }, { name: "database MiB" }],
    rows: pairings.flatMap(({ names, residentBytes, databaseBytes }) =>
      SIDES.map(side => [
        `${names[side]} (of ${names.base} and ${names.other})`,
        residentBytes[side].map(bytes => Math.round(bytes / MIB)).join(", "),
        databaseBytes[side] / MIB,
      ]),
    ),
  };
}

function peerTable(engine: string, peer: readonly PeerFigures[]): Table {
  return {
    title: `ipam: the peer, ${engine} alone: rows of 700 bytes with two indexes, no decision, no event, one durable commit a batch`,
    columns: [
      { name: "connections" },
      { name: "rows a commit" },
      { name: "rows/s" },
      { name: "commits/s" },
      { name: "p50 ms", digits: 2 },
      { name: "p99 ms", digits: 2 },
    ],
    rows: peer.map(({ connections, batch, perSecond, p50Ms, p99Ms }) => [
      ...[connections, batch, perSecond, perSecond / batch, p50Ms, p99Ms],
    ]),
  };
}

function heldBars(
  { names, measurements, residentBytes }: Pairing,
  { database, replicas }: IpamResult["options"],
): Bar[] {
  const wanted = BARS[database];
  const bars = measurements.flatMap(({ how, connections, batch, comparison }): Bar[] => {
    const { base, other, ratio } = comparison.claim;
    const where = `${shapeOf({ how, connections, batch })}${replicas > 1 ? `, ${replicas} servers` : ""}`;
    const both = (bar: number) => [
      above(`${where}, ${names.base}`, bar, base),
      above(`${where}, ${names.other}`, bar, other),
      within(`${where}, ${names.other}`, ratio),
    ];
    if (batch === 100) return both(wanted.batches);
    if (connections !== 64) return [];
    const singles = wanted.singles === undefined ? [within(`${where}, ${names.other}`, ratio)] : both(wanted.singles);
    const p99 = [p99Bar(`${where}, ${names.base}`, base), p99Bar(`${where}, ${names.other}`, other)];
    return [...singles, ...p99, neutronBar(`${where}, ${names.other}`, other)];
  });
  const worstMib = Math.max(...residentBytes.other) / MIB;
  bars.push({
    what: `memory of a server, ${names.other}`,
    bar: `under ${MAX_RESIDENT_MIB} MiB`,
    measured: `${worstMib.toFixed(0)} MiB`,
    met: worstMib < MAX_RESIDENT_MIB,
  });
  return bars;
}

function replicaBars({ names, measurements }: Pairing): Bar[] {
  return measurements
    .filter(({ batch, connections = 0 }) => batch === 100 && connections > 1)
    .map(measurement => {
      const { base, other, ratio } = measurement.comparison.claim;
      return {
        what: `${shapeOf(measurement)}, ${names.other} against ${names.base}`,
        bar: `not less (${NOT_LESS} of it at the least)`,
        measured: `${(1 / ratio).toFixed(2)}x (${count(other.perSecond)}/s, ${count(base.perSecond)}/s)`,
        met: 1 / ratio >= NOT_LESS,
      };
    });
}

function limitBars({ names, measurements }: Pairing, limit: number): Bar[] {
  return measurements.map(measurement => {
    const { ratio } = measurement.comparison.claim;
    return {
      what: `${shapeOf(measurement)}, ${names.other}`,
      bar: `within ${limit}x of ${names.base}`,
      measured: `${ratio.toFixed(2)}x`,
      met: ratio <= limit,
    };
  });
}

function shapeOf({ how, connections, batch }: Pick<Measurement, "how" | "connections" | "batch">): string {
  const what = batch === 1 ? "single" : `batches of ${batch}`;
  if (connections === undefined) return `${what}, ${how}`;
  return `${what}, ${how}, ${connections} connection${connections === 1 ? "" : "s"}`;
}

const count = (value: number): string => Math.round(value).toLocaleString("en-US");

function above(what: string, bar: number, { perSecond }: Figures): Bar {
  return { what, bar: `over ${count(bar)}/s`, measured: `${count(perSecond)}/s`, met: perSecond > bar };
}

function within(what: string, ratio: number): Bar {
  return { what, bar: "within 1.25x of empty", measured: `${ratio.toFixed(2)}x`, met: ratio <= 1.25 };
}

function p99Bar(what: string, { p99Ms }: Figures): Bar {
  return { what, bar: "p99 under 50 ms", measured: `${p99Ms.toFixed(1)} ms`, met: p99Ms < 50 };
}

function neutronBar(what: string, { perSecond }: Figures): Bar {
  const times = perSecond / STATED_NEUTRON_PER_SECOND;
  return {
    what: `${what}, against the ${STATED_NEUTRON_PER_SECOND}/s that docs/design.md states for Neutron`,
    bar: "300x or more",
    measured: `${times.toFixed(0)}x (the peer is stated, not measured)`,
    met: times >= 300,
  };
}

/** A rate over failed requests is no rate: failures are shown, loudly. */
function failureNotes(pairings: readonly Pairing[]): string[] {
  return pairings.flatMap(({ names, measurements }) =>
    measurements.flatMap(measurement =>
      (["claim", "release"] as const).flatMap(call =>
        SIDES.filter(side => measurement.comparison[call][side].failed > 0).map(side => {
          const { failed, firstFailure } = measurement.comparison[call][side];
          return `FAILED: ${failed} ${call}s (${shapeOf(measurement)}, ${names[side]}): ${firstFailure}`;
        }),
      ),
    ),
  );
}
