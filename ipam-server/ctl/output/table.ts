export interface Column<T> {
  header: string;
  /** Shown only with `-o wide`. */
  wide?: boolean;
  /** undefined and the empty string are shown as `<none>`. */
  cell(item: T): string | undefined;
}

const GAP = "   ";

/** Formats rows under their headers, as kubectl does. Widths grow from page to page but never shrink. */
export class Table<T> {
  readonly #columns: Column<T>[];
  readonly #widths: number[];
  #headerDue = true;

  constructor(columns: readonly Column<T>[], wide = false) {
    this.#columns = columns.filter(column => wide || column.wide !== true);
    this.#widths = this.#columns.map(column => column.header.length);
  }

  format(items: readonly T[]): string {
    const rows = items.map(item => this.#columns.map(column => formatCell(column.cell(item))));
    for (const row of rows) {
      for (const [at, cell] of row.entries()) this.#widths[at] = Math.max(this.#widths[at] ?? 0, cell.length);
    }
    if (this.#headerDue) rows.unshift(this.#columns.map(column => column.header));
    this.#headerDue = false;
    return rows.map(row => this.#formatRow(row)).join("");
  }

  #formatRow(cells: string[]): string {
    return `${cells
      .map((cell, at) => cell.padEnd(this.#widths[at] ?? 0))
      .join(GAP)
      .trimEnd()}\n`;
  }
}

/** Returns the value without control characters, so that another host's text cannot control this terminal. */
export function formatCell(value: string | undefined): string {
  return value === undefined || value === "" ? "<none>" : value.replaceAll(/\p{Cc}/gu, " ");
}
