import { createHash } from "node:crypto";
import type pg from "pg";
import type { Element } from "./array-literal.ts";
import { assertReplicated } from "./replication-wait.ts";

/** A statement that a connection parses and plans once, under a name derived from its text. */
export interface Statement {
  name: string;
  text: string;
}

export interface Bound {
  statement: Statement;
  values: readonly Element[];
  /** The test failpoint after this statement. */
  step?: string;
}

export type Row = readonly unknown[];
/** Sends a statement after those sent before, without awaiting their answers. */
export type Send = <R extends Row = Row>(statement: Statement, ...values: Element[]) => Promise<R[]>;

export function prepare(text: string): Statement {
  return { name: `m_${createHash("sha256").update(text).digest("hex").slice(0, 20)}`, text };
}

/** Returns rows as arrays in the order of the columns. Rejects a commit that was not replicated. Trusts that the statement's text yields the type R. */
export function senderOf(client: pg.Client): Send {
  return async <R extends Row = Row>({ name, text }: Statement, ...values: Element[]): Promise<R[]> => {
    const { rows } = await client.query({ name, text, values, rowMode: "array" });
    assertReplicated(client);
    return rows as unknown as R[];
  };
}
