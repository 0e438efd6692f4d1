/**
 * An element of a PostgreSQL array literal. A batch is sent as one array a column, so that no number of rows reaches the
 * limit of 65,535 parameters.
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
  // PostgreSQL reads an unquoted NULL, in upper or lower case, as no value.
  if (PLAIN.test(text) && text.length !== 4) return text;
  // PostgreSQL rejects NUL in a text; validated input has none.
  return `"${text.replace(/[\\"]/g, "\\$&").replaceAll("\0", "")}"`;
}

/**
 * Returns one array literal a column. A column of nulls is sent as the empty array, because `unnest` fills shorter arrays
 * with nulls; at least one column of each row must have a value.
 */
export function toColumns(rows: readonly (readonly Element[])[], width: number): string[] {
  return Array.from({ length: width }, (_, column) =>
    rows.some(row => row[column] !== null) ? toArray(rows.map(row => row[column] ?? null)) : "{}",
  );
}
