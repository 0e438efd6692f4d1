import { randomUUID } from "node:crypto";
import type pg from "pg";
import { IpamError } from "../../../contract/index.ts";
import { close, drop } from "./close-connection.ts";
import type { Timeouts } from "./connect.ts";
import { remedyOf } from "./errors.ts";
import type { Primary } from "./primary.ts";
import { retry } from "./retry.ts";
import { type Bound, prepare, type Row, type Send, senderOf } from "./statement.ts";

/** What a transaction came to: what to write, or that it must be decided anew at once with what was learned. */
export type TransactionPlan<T> = { writes: readonly Bound[]; result: T } | "again";

export interface Committed<T> {
  result: T;
  writes: readonly Bound[];
  /** Of each of the writes; none when the commit took place, but its answer was lost. */
  answers: readonly (readonly Row[])[];
}

/** `read`: networks stay as they are meanwhile. `change`: nobody else decides anything meanwhile. */
export type CatalogLock = "read" | "change";

/** "Moor" in ASCII. */
export const LOCK_SPACE = 0x4d_6f_6f_72;
const catalogLock = (take: string) => `${take}(${LOCK_SPACE}, 1)`;
/** Expressions that take it. */
export const LOCK_CATALOG: Readonly<Record<CatalogLock, string>> = {
  read: catalogLock("pg_advisory_xact_lock_shared"),
  change: catalogLock("pg_advisory_xact_lock"),
};

const BEGIN = prepare("BEGIN");
const COMMIT = prepare("COMMIT");
const ROLLBACK = prepare("ROLLBACK");
/** As it is seen on the wire. */
export const COMMIT_NAME = COMMIT.name;
const open = (lock: string) =>
  prepare(
    `WITH writer AS (
       INSERT INTO writers VALUES ($1, $2, $3)
       ON CONFLICT (id) DO UPDATE SET last_commit = excluded.last_commit, seen_at = excluded.seen_at
     ) SELECT ${lock}`,
  );
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
  /** Where they differ from the usual. */
  timeouts?: Partial<Timeouts>;
  /** For tests: what it throws stands for a crash there. */
  failpoint?: ((step: string) => void) | undefined;
}

/**
 * This replica's one connection for changes, on which its transactions follow each other. A transaction is two round
 * trips: begin, lock and load; then write and commit.
 *
 * Its first statement puts its number into this replica's row of `writers`. When the answer to COMMIT is lost, that row
 * tells whether it took place: who asks for the row waits for the lost transaction's end.
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

  /** Waits its turn, then decides and commits; anew when others were in the way or the connection was lost. */
  transact<T>(lock: CatalogLock, decide: (send: Send) => Promise<TransactionPlan<T>>): Promise<Committed<T>> {
    const turn = this.#last.then(() => {
      const { signal } = this.#stopping;
      if (signal.aborted) throw new IpamError("unavailable", "the store is closed");
      const options = { durationMs: this.#options.retryForMs, name: this.#primary.name, signal };
      return retry(() => this.#attempt(lock, decide), options);
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #attempt<T>(lock: CatalogLock, decide: (send: Send) => Promise<TransactionPlan<T>>): Promise<Committed<T>> {
    for (let round = 0; round < MAX_ATTEMPTS; round++) {
      const done = await this.#once(await this.#connected(), lock, decide);
      if (done) return done;
    }
    throw new IpamError("internal", "the same changes were decided anew without end");
  }

  async #once<T>(
    client: pg.Client,
    lock: CatalogLock,
    decide: (send: Send) => Promise<TransactionPlan<T>>,
  ): Promise<Committed<T> | undefined> {
    const send = senderOf(client);
    const commit = ++this.#commits;
    const roundTrip = corked(client);
    const opening = [send(BEGIN), send(OPEN[lock], this.#id, commit, this.#options.clock())];
    const deciding = decide(send);
    roundTrip();
    let plan: TransactionPlan<T>;
    try {
      [, , plan] = await Promise.all([...(opening as [Promise<unknown>, Promise<unknown>]), deciding]);
    } catch (error) {
      await this.#rollback(client, error);
      throw error;
    }
    if (plan === "again" || plan.writes.length === 0) {
      this.#rollback(client, undefined);
      return plan === "again" ? undefined : { ...plan, answers: [] };
    }
    const answers = await this.#write(client, plan.writes, commit);
    if (answers) return { ...plan, answers };
    throw Object.assign(new Error("the connection was lost before the commit"), { code: "08006" });
  }

  /** The answers, if it was committed; undefined when the connection was lost before. Throws what refused it. */
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
      this.#forget(client);
      return (await this.#settle(commit)) ? [] : undefined;
    }
  }

  /** Whether the transaction of this number committed: waits until the server has ended it, one way or the other. */
  async #settle(commit: number): Promise<boolean> {
    const { retryForMs, clock } = this.#options;
    const options = { durationMs: retryForMs, name: this.#primary.name, signal: this.#stopping.signal };
    const ask = async () => {
      const client = await this.#connected();
      try {
        const [row] = await senderOf(client)<[lastCommit: number]>(SETTLE, this.#id, clock());
        return row?.[0] === commit;
      } catch (error) {
        this.#forget(client);
        throw error;
      }
    };
    return retry(ask, options).catch((error: IpamError) => {
      // Without its cause, so that nobody takes it for a failure after which the work can be done anew.
      throw new IpamError(
        "unavailable",
        `the connection was lost at the commit, and whether it took place cannot be learned now: ask again, which changes nothing twice (${error.message})`,
        { retryAfterSeconds: 1 },
      );
    });
  }

  async #connected(): Promise<pg.Client> {
    this.#client ??= await this.#primary.connect(this.#options.timeouts, this.#stopping.signal);
    return this.#client;
  }

  /** A connection that cannot be rolled back is given up: the transaction left open on it would keep its locks. */
  async #rollback(client: pg.Client, error: unknown): Promise<void> {
    if (remedyOf(error) === "reconnect") this.#forget(client);
    else await senderOf(client)(ROLLBACK).catch(() => this.#forget(client));
  }

  #forget(client: pg.Client): void {
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

/** Statements of one round trip leave in one packet; the answer sends them, once. */
function corked(client: pg.Client): () => void {
  const { stream } = client.connection;
  let held = true;
  stream.cork();
  return () => {
    if (held) stream.uncork();
    held = false;
  };
}

/** COMMIT of a transaction that failed before says so in its tag only. */
async function commitOn(client: pg.Client): Promise<readonly Row[]> {
  const { command } = await client.query({ ...COMMIT, values: [] });
  if (command !== "COMMIT") throw new Error(`the transaction was not committed but ended by ${command}`);
  return [];
}
