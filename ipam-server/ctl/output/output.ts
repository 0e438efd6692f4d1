import { stringify } from "yaml";
import type { Sink } from "../io.ts";
import { type Column, formatCell, Table } from "./table.ts";

export const OUTPUT_FORMATS = ["json", "yaml", "wide"] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

interface Listing<T> {
  /** The list's key in JSON and YAML, as in the API, and the noun of "No ports found.". */
  key: string;
  columns: readonly Column<T>[];
  pages: AsyncIterable<readonly T[]> | Iterable<readonly T[]>;
}

/** Writes page by page, so that memory is bounded by one page. */
export async function writeList<T>(
  io: { stdout: Sink; stderr: Sink },
  format: OutputFormat | undefined,
  listing: Listing<T>,
): Promise<void> {
  if (format === "json") return writeJsonList(io.stdout, listing);
  if (format === "yaml") return writeYamlList(io.stdout, listing);
  const table = new Table(listing.columns, format === "wide");
  let empty = true;
  for await (const page of listing.pages) {
    if (page.length === 0) continue;
    empty = false;
    await io.stdout.write(table.format(page));
  }
  if (empty) await io.stderr.write(`No ${listing.key} found.\n`);
}

/** Writes one object, as JSON or YAML in the API's form, or as a table of one row. */
export async function writeItem<T>(
  io: { stdout: Sink },
  format: OutputFormat | undefined,
  columns: readonly Column<T>[],
  item: T,
): Promise<void> {
  if (format === "json") return io.stdout.write(`${JSON.stringify(item, null, 2)}\n`);
  if (format === "yaml") return io.stdout.write(stringify(item));
  await io.stdout.write(new Table(columns, format === "wide").format([item]));
}

async function writeJsonList<T>(stdout: Sink, { key, pages }: Listing<T>): Promise<void> {
  await stdout.write(`{\n  ${JSON.stringify(key)}: [`);
  let written = 0;
  for await (const page of pages) {
    const items = page.map(item => `\n    ${JSON.stringify(item, null, 2).replaceAll("\n", "\n    ")}`);
    if (items.length > 0) await stdout.write((written > 0 ? "," : "") + items.join(","));
    written += items.length;
  }
  await stdout.write(written > 0 ? "\n  ]\n}\n" : "]\n}\n");
}

async function writeYamlList<T>(stdout: Sink, { key, pages }: Listing<T>): Promise<void> {
  let written = 0;
  for await (const page of pages) {
    if (page.length === 0) continue;
    await stdout.write((written === 0 ? `${key}:\n` : "") + stringify(page));
    written += page.length;
  }
  if (written === 0) await stdout.write(`${key}: []\n`);
}

/** Formats lines of `Label: value` with aligned values; each of several values takes a line. */
export function formatFields(
  fields: readonly (readonly [label: string, value: string | readonly string[] | undefined])[],
): string {
  const width = Math.max(...fields.map(([label]) => label.length)) + 1;
  return fields
    .flatMap(([label, value]) => {
      const lines =
        typeof value === "object" && value.length > 0 ? value : [typeof value === "object" ? undefined : value];
      return lines.map((line, at) => `${(at === 0 ? `${label}:` : "").padEnd(width)}  ${formatCell(line)}\n`);
    })
    .join("");
}
