/**
 * Columns of a batch as PostgreSQL's array literals: one parameter a column, however many rows, so that no statement
 * comes near the limit of 65,535 parameters.
 */
export type Element = string | number | bigint | null;

const PLAIN = /^[A-Za-z0-9_.:/+@-]+$/;

export function toArray(elements: readonly Element[]): string {
  let literal = "{";
  for (let i = 0; i < elements.length; i++) {
    if (i > 0) literal += ",";
    const element = elements[i];
    if (element === null || element === undefined) literal += "NULL";
    else if (typeof element !== "string") literal += element;
    else literal += quote(element);
  }
  return `${literal}}`;
}

function quote(text: string): string {
  // NULL in any case would be read as no value.
  if (PLAIN.test(text) && text.length !== 4) return text;
  // PostgreSQL keeps no NUL in a text; nothing that was validated has one.
  return `"${text.replace(/[\\"]/g, "\\$&").replaceAll("\0", "")}"`;
}

/**
 * Rows turned into one array literal a column. A column without any value is sent as the empty array: `unnest` fills up
 * what is shorter with nulls. At least one column of each row has a value.
 */
export function toColumns(rows: readonly (readonly Element[])[], width: number): string[] {
  return Array.from({ length: width }, (_, column) =>
    rows.some(row => row[column] !== null) ? toArray(rows.map(row => row[column] ?? null)) : "{}",
  );
}
