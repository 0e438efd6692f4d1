import type { Figures } from "./alternate.ts";
import type { Level } from "./ipam.ts";
import type { Bar, BenchReport, Table } from "./report.ts";

/** Port creates a second of Neutron, as docs/design.md names them: a stated figure, never measured here. */
const STATED_NEUTRON_PER_SECOND = 10;
const MIB = 1024 * 1024;

export function reportIpam(levels: readonly Level[]): BenchReport {
  return {
    benchmark: "ipam",
    tables: levels.flatMap(levelTables),
    bars: levels.flatMap(levelBars),
    notes: [
      "Durable: every answer comes after a commit with SQLite's synchronous=FULL.",
      "Every claim is of a new name by a selector that four of eight networks match, in no order of names, hosts and sandboxes; every round releases what it claimed.",
      "Four rounds each, empty and filled database in turn; ratio: rate of empty / rate of held.",
      "The load generator is a thread of its own on the same machine; `generator` shows how busy it was.",
      ...failureNotes(levels),
    ],
  };
}

function levelTables({ held, measurements, residentBytes }: Level): Table[] {
  const columns = [
    { name: "how" },
    { name: "connections" },
    { name: "batch" },
    { name: "call" },
    { name: "empty/s" },
    { name: "p50 ms", digits: 2 },
    { name: "p99 ms", digits: 2 },
    { name: "held/s" },
    { name: "p50 ms", digits: 2 },
    { name: "p99 ms", digits: 2 },
    { name: "ratio", digits: 2 },
    { name: "generator", digits: 2 },
  ];
  const rows = measurements.flatMap(({ how, connections, batch, comparison }) =>
    (["claim", "release"] as const).map(call => {
      const { empty, held } = comparison[call];
      return [
        ...[how, connections, batch, call, empty.perSecond, empty.p50Ms, empty.p99Ms],
        ...[held.perSecond, held.p50Ms, held.p99Ms, comparison[call].ratio, held.generatorBusy || undefined],
      ];
    }),
  );
  return [
    { title: `ipam: empty database beside ${held.toLocaleString("en-US")} ports held`, columns, rows },
    {
      title: `ipam: memory of the server after the load`,
      columns: [{ name: "database" }, { name: "resident MiB" }],
      rows: [
        ["empty", residentBytes.empty / MIB],
        [`${held.toLocaleString("en-US")} ports`, residentBytes.held / MIB],
      ],
    },
  ];
}

function levelBars({ held, measurements, residentBytes }: Level): Bar[] {
  const at = `${held.toLocaleString("en-US")} held`;
  const bars: Bar[] = [];
  for (const { how, connections, batch, comparison } of measurements) {
    const { empty, held: filled } = comparison.claim;
    const where = connections === undefined ? how : `${how}, ${connections} connection${connections === 1 ? "" : "s"}`;
    if (batch === 100) {
      bars.push(
        above(`batches of 100, ${where}, empty`, 10_000, empty),
        above(`batches of 100, ${where}, ${at}`, 10_000, filled),
      );
      bars.push(ratioBar(`batches of 100, ${where}, ${at}`, comparison.claim.ratio));
    }
    if (batch === 1 && connections === 64) {
      bars.push(above(`single, ${where}, empty`, 3000, empty), above(`single, ${where}, ${at}`, 3000, filled));
      bars.push(p99Bar(`single, ${where}, empty`, empty), p99Bar(`single, ${where}, ${at}`, filled));
      bars.push(ratioBar(`single, ${where}, ${at}`, comparison.claim.ratio));
      const times = filled.perSecond / STATED_NEUTRON_PER_SECOND;
      bars.push({
        what: `single, ${where}, ${at}, against the ${STATED_NEUTRON_PER_SECOND}/s that docs/design.md states for Neutron`,
        bar: "300x or more",
        measured: `${times.toFixed(0)}x (the peer is stated, not measured)`,
        met: times >= 300,
      });
    }
  }
  bars.push({
    what: `server memory, ${at}`,
    bar: "under 1 GiB",
    measured: `${(residentBytes.held / MIB).toFixed(0)} MiB`,
    met: residentBytes.held < 1024 * MIB,
  });
  return bars;
}

function above(what: string, bar: number, { perSecond }: Figures): Bar {
  return {
    what,
    bar: `over ${bar.toLocaleString("en-US")}/s`,
    measured: `${Math.round(perSecond).toLocaleString("en-US")}/s`,
    met: perSecond > bar,
  };
}

function p99Bar(what: string, { p99Ms }: Figures): Bar {
  return { what, bar: "p99 under 50 ms", measured: `${p99Ms.toFixed(1)} ms`, met: p99Ms < 50 };
}

function ratioBar(what: string, value: number): Bar {
  return { what, bar: "within 1.25x of empty", measured: `${value.toFixed(2)}x`, met: value <= 1.25 };
}

/** A rate over failed requests is no rate: failures are shown, loudly. */
function failureNotes(levels: readonly Level[]): string[] {
  return levels.flatMap(({ held, measurements }) =>
    measurements.flatMap(({ how, connections, batch, comparison }) =>
      (["claim", "release"] as const).flatMap(call =>
        Object.entries(comparison[call])
          .filter(([, figures]) => figures.failed > 0)
          .map(
            ([side, { failed, firstFailure }]) =>
              `FAILED: ${failed} ${call}s (${how}, ${connections ?? 0} connections, batch ${batch}, ${held} held, ${side}): ${firstFailure}`,
          ),
      ),
    ),
  );
}
