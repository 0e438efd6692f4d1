/** The result of one benchmark: figures as numbers, which `--json` prints exactly and the table rounds. */
export interface BenchReport {
  benchmark: string;
  tables: Table[];
  bars: Bar[];
  /** What a reader must know of the figures: conditions, what has no peer, what is stated and not measured. */
  notes: string[];
}

export interface Table {
  title: string;
  columns: Column[];
  rows: (string | number | undefined)[][];
}

export interface Column {
  name: string;
  /** Digits after the point of a number. Default 0. */
  digits?: number;
}

/** A promise of docs/design.md and what this run measured. */
export interface Bar {
  what: string;
  bar: string;
  measured: string;
  met: boolean;
}

export function formatReport(report: BenchReport): string {
  const parts = report.tables.map(formatTable);
  if (report.bars.length > 0) {
    parts.push(
      formatTable({
        title: "Bars",
        columns: [{ name: "bar" }, { name: "wanted" }, { name: "measured" }, { name: "met" }],
        rows: report.bars.map(({ what, bar, measured, met }) => [what, bar, measured, met ? "yes" : "NO"]),
      }),
    );
  }
  if (report.notes.length > 0) parts.push(report.notes.map(note => `* ${note}`).join("\n"));
  return `${parts.join("\n\n")}\n`;
}

/** A Markdown table with aligned columns, so that it reads in a terminal and pastes into docs/capacity.md. */
function formatTable({ title, columns, rows }: Table): string {
  const cells = rows.map(row => columns.map((column, index) => formatCell(row[index], column)));
  const widths = columns.map((column, index) =>
    Math.max(3, column.name.length, ...cells.map(row => row[index]?.length ?? 0)),
  );
  const numeric = columns.map((_, index) => rows.some(row => typeof row[index] === "number"));
  const line = (row: string[]) =>
    `| ${row.map((cell, index) => (numeric[index] ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0))).join(" | ")} |`;
  const rule = `|${widths.map((width, index) => (numeric[index] ? `${"-".repeat(width + 1)}:` : "-".repeat(width + 2))).join("|")}|`;
  return [`### ${title}`, "", line(columns.map(({ name }) => name)), rule, ...cells.map(line)].join("\n");
}

function formatCell(cell: string | number | undefined, { digits = 0 }: Column): string {
  if (cell === undefined) return "-";
  if (typeof cell === "string") return cell;
  return cell.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
