import { randomUUID } from "node:crypto";
import type pg from "pg";
import { IpamError } from "../../../contract/index.ts";
import { type CatalogLock, LOCK_CATALOG } from "./catalog-lock.ts";
import { close, drop } from "./close-connection.ts";
import type { Timeouts } from "./connect.ts";
import { remedyOf } from "./errors.ts";
import type { Primary } from "./primary.ts";
import { assertReplicated } from "./replication-wait.ts";
import { retry } from "./retry.ts";
import { type Bound, prepare, type Row, type Send, senderOf } from "./statement.ts";

/** What a transaction writes, or that it must be decided again at once. */
export type TransactionPlan<T> = { writes: readonly Bound[]; result: T } | "again";

interface Committed<T> {
  result: T;
  writes: readonly Bound[];
  /** One for each write; empty if the commit succeeded but its answer was lost. */
  answers: readonly (readonly Row[])[];
}

const BEGIN = prepare("BEGIN");
const COMMIT = prepare("COMMIT");
const ROLLBACK = prepare("ROLLBACK");
/** The name of COMMIT in the wire protocol. */
export const COMMIT_NAME = COMMIT.name;
const open = (lock: string) =>
  prepare(
    `WITH writer AS (
       INSERT INTO writers VALUES ($1, $2, $3)
       ON CONFLICT (id) DO UPDATE SET last_commit = excluded.last_commit, seen_at = excluded.seen_at
     ) SELECT current_setting('synchronous_standby_names') <> '', ${lock}`,
  );
/** Its first column is true if commits wait for a standby. */
const OPEN = { read: open(LOCK_CATALOG.read), change: open(LOCK_CATALOG.change) };
const SETTLE = prepare(
  `INSERT INTO writers VALUES ($1, 0, $2) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at RETURNING last_commit`,
);
const LEAVE = prepare("DELETE FROM writers WHERE id = $1 OR seen_at < $2");

const MAX_ATTEMPTS = 1000;
const WRITER_RETENTION_MS = 7 * 86_400_000;

export interface WriterOptions {
  clock: () => number;
  retryForMs: number;
  /** Overrides of the usual time-outs. */
  timeouts?: Partial<Timeouts>;
  /** Test failpoint: throw to simulate a crash at this step. */
  failpoint?: ((step: string) => void) | undefined;
}

/**
 * This replica's one connection for changes, with one transaction at a time in two round trips: begin, lock and load; then
 * write and commit. The first statement writes the transaction's number to this replica's row of `writers`: if the answer
 * to COMMIT is lost, that row shows whether it committed, because reading it waits for the transaction's end.
 */
export class Writer implements AsyncDisposable {
  readonly #primary: Primary;
  readonly #options: WriterOptions;
  readonly #id = randomUUID();
  readonly #stopping = new AbortController();
  #client: pg.Client | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #commits = 0;

  constructor(primary: Primary, options: WriterOptions) {
    this.#primary = primary;
    this.#options = options;
  }

  /** Runs after the transactions before it. Decides again after a conflict or a lost connection. */
  transact<T>(lock: CatalogLock, decide: (send: Send) => Promise<TransactionPlan<T>>): Promise<Committed<T>> {
    const transaction = this.#last.then(() => {
      const { signal } = this.#stopping;
      if (signal.aborted) throw new IpamError("unavailable", "the store is closed");
      const options = { durationMs: this.#options.retryForMs, name: this.#primary.name, signal };
      return retry(() => this.#attempt(lock, decide), options);
    });
    this.#last = transaction.catch(() => {});
    return transaction;
  }

  async #attempt<T>(lock: CatalogLock, decide: (send: Send) => Promise<TransactionPlan<T>>): Promise<Committed<T>> {
    for (let round = 0; round < MAX_ATTEMPTS; round++) {
      const done = await this.#once(await this.#connected(), lock, decide);
      if (done) return done;
    }
    throw new IpamError("internal", "the same changes were decided too many times");
  }

  async #once<T>(
    client: pg.Client,
    lock: CatalogLock,
    decide: (send: Send) => Promise<TransactionPlan<T>>,
  ): Promise<Committed<T> | undefined> {
    const send = senderOf(client);
    const commit = ++this.#commits;
    const roundTrip = corked(client);
    const begun = send(BEGIN);
    const opened = send<[isSynchronous: boolean]>(OPEN[lock], this.#id, commit, this.#options.clock());
    const deciding = decide(send);
    roundTrip();
    let plan: TransactionPlan<T>;
    let isSynchronous: boolean | undefined;
    try {
      const [, rows, decided] = await Promise.all([begun, opened, deciding]);
      plan = decided;
      isSynchronous = rows[0]?.[0];
    } catch (error) {
      await this.#rollback(client, error);
      throw error;
    }
    // With a standby, "nothing to change" is an acknowledgement too: the commit confirms what was read.
    if (plan === "again" || (plan.writes.length === 0 && !isSynchronous)) {
      this.#rollback(client, undefined);
      return plan === "again" ? undefined : { ...plan, answers: [] };
    }
    const answers = await this.#write(client, plan.writes, commit);
    if (answers) return { ...plan, answers };
    throw Object.assign(new Error("the connection was lost before the commit"), { code: "08006" });
  }

  /** The answers if it committed; undefined if the connection was lost before. Rejects with PostgreSQL's error. */
  async #write(
    client: pg.Client,
    writes: readonly Bound[],
    commit: number,
  ): Promise<Committed<unknown>["answers"] | undefined> {
    const send = senderOf(client);
    const sent: Promise<readonly Row[]>[] = [];
    const roundTrip = corked(client);
    try {
      for (const { statement, values, step } of writes) {
        sent.push(send(statement, ...values));
        if (step !== undefined) this.#options.failpoint?.(step);
      }
      this.#options.failpoint?.("commit");
      sent.push(commitOn(client));
      roundTrip();
      this.#options.failpoint?.("answer");
      return await Promise.all(sent);
    } catch (error) {
      roundTrip();
      for (const answer of sent) answer.catch(() => {});
      if (remedyOf(error) !== "reconnect") {
        await this.#rollback(client, error);
        throw error;
      }
      this.#discard(client);
      return (await this.#settle(commit)) ? [] : undefined;
    }
  }

  /** True if the transaction of this number committed. Waits until the server has ended it. */
  async #settle(commit: number): Promise<boolean> {
    const { retryForMs, clock } = this.#options;
    const options = { durationMs: retryForMs, name: this.#primary.name, signal: this.#stopping.signal };
    const ask = async () => {
      const client = await this.#connected();
      try {
        const [row] = await senderOf(client)<[lastCommit: number]>(SETTLE, this.#id, clock());
        return row?.[0] === commit;
      } catch (error) {
        this.#discard(client);
        throw error;
      }
    };
    return retry(ask, options).catch((error: IpamError) => {
      // Has no cause, because a cause would make `retry` run the work again.
      throw new IpamError(
        "unavailable",
        `the connection was lost at the commit, its outcome is unknown: send the request again, which changes nothing twice (${error.message})`,
        { retryAfterSeconds: 1 },
      );
    });
  }

  async #connected(): Promise<pg.Client> {
    this.#client ??= await this.#primary.connect(this.#options.timeouts, this.#stopping.signal);
    return this.#client;
  }

  /** Drops a connection that cannot be rolled back, because its open transaction would keep its locks. */
  async #rollback(client: pg.Client, error: unknown): Promise<void> {
    if (remedyOf(error) === "reconnect") this.#discard(client);
    else await senderOf(client)(ROLLBACK).catch(() => this.#discard(client));
  }

  #discard(client: pg.Client): void {
    if (this.#client === client) this.#client = undefined;
    drop(client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#last;
    const client = this.#client;
    if (!client) return;
    await senderOf(client)(LEAVE, this.#id, this.#options.clock() - WRITER_RETENTION_MS).catch(() => {});
    await close(client);
  }
}

/** Collects the statements of one round trip in one packet. The returned function sends them, once. */
function corked(client: pg.Client): () => void {
  const { stream } = client.connection;
  let held = true;
  stream.cork();
  return () => {
    if (held) stream.uncork();
    held = false;
  };
}

/** Rejects if the transaction had failed before, which the answer to COMMIT shows only in its tag. */
async function commitOn(client: pg.Client): Promise<readonly Row[]> {
  const { command } = await client.query({ ...COMMIT, values: [] });
  assertReplicated(client);
  if (command !== "COMMIT") throw new Error(`the transaction was not committed but ended by ${command}`);
  return [];
}
