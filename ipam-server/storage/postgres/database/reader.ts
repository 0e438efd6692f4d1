import type pg from "pg";
import { IpamError } from "../../../contract/index.ts";
import { Semaphore } from "../../../process/semaphore.ts";
import { close, drop } from "./close-connection.ts";
import type { Timeouts } from "./connect.ts";
import { remedyOf } from "./errors.ts";
import type { Primary } from "./primary.ts";
import { retry } from "./retry.ts";
import { prepare, type Send, senderOf } from "./statement.ts";

export const BEGIN_READ = prepare("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
const COMMIT = prepare("COMMIT");

/** A long look at all tables may take so long. */
const PATIENT: Partial<Timeouts> = { statementMs: 600_000 };

interface Connection {
  client: pg.Client;
  generation: number;
}

/**
 * A few connections for reads, which wait for one another but never for changes, and one for small statements, which do not
 * wait for reads: a batch may stand still for them, with its locks, and a probe must not take a flood of lists for a fault.
 */
export class Reader implements AsyncDisposable {
  readonly #primary: Primary;
  readonly #retryForMs: number;
  readonly #stopping = new AbortController();
  readonly #idle: Connection[] = [];
  readonly #reads: Semaphore;
  readonly #small = new Semaphore(1);

  constructor(primary: Primary, size: number, retryForMs: number) {
    this.#primary = primary;
    this.#reads = new Semaphore(size);
    this.#retryForMs = retryForMs;
  }

  /** Runs the work in a transaction that sees one state of the database; anew when the connection is lost. */
  read<T>(work: (send: Send) => Promise<T>): Promise<T> {
    return this.#use(this.#reads, client => inTransaction(client, work), this.#retryForMs);
  }

  /** A statement by itself that may change something, and may do so twice when its answer is lost. */
  write<T>(work: (send: Send) => Promise<T>, retryForMs = this.#retryForMs): Promise<T> {
    return this.#use(this.#small, client => work(senderOf(client)), retryForMs);
  }

  #use<T>(semaphore: Semaphore, work: (client: pg.Client) => Promise<T>, forMs: number): Promise<T> {
    return semaphore.run(async () => {
      if (this.#stopping.signal.aborted) throw new IpamError("unavailable", "the store is closed");
      const options = { durationMs: forMs, name: this.#primary.name, signal: this.#stopping.signal };
      return retry(() => this.#attempt(work), options);
    });
  }

  /** The same on a connection of its own, which may take its time. */
  async readLong<T>(work: (send: Send) => Promise<T>): Promise<T> {
    const run = async () => {
      if (this.#stopping.signal.aborted) throw new IpamError("unavailable", "the store is closed");
      const client = await this.#primary.connect(PATIENT, this.#stopping.signal);
      try {
        return await inTransaction(client, work);
      } finally {
        await close(client);
      }
    };
    return retry(run, { durationMs: this.#retryForMs, name: this.#primary.name, signal: this.#stopping.signal });
  }

  async #attempt<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const connection = await this.#take();
    let sound = false;
    try {
      const result = await work(connection.client);
      sound = true;
      return result;
    } catch (error) {
      sound = error instanceof IpamError;
      // A connection that was idle may have died long ago, as may all others with it: that is no reason to wait.
      if (remedyOf(error) === "reconnect") for (const { client } of this.#idle.splice(0)) drop(client);
      throw error;
    } finally {
      if (sound && !this.#stopping.signal.aborted) this.#idle.push(connection);
      else drop(connection.client);
    }
  }

  async #take(): Promise<Connection> {
    for (let known = this.#idle.pop(); known; known = this.#idle.pop()) {
      if (known.generation === this.#primary.generation) return known;
      drop(known.client);
    }
    const client = await this.#primary.connect({}, this.#stopping.signal);
    return { client, generation: this.#primary.generation };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#idle.splice(0).map(({ client }) => close(client)));
  }
}

async function inTransaction<T>(client: pg.Client, work: (send: Send) => Promise<T>): Promise<T> {
  const send = senderOf(client);
  const begun = send(BEGIN_READ);
  const [, result] = await Promise.all([begun, work(send)]).catch(async (error: unknown) => {
    await send(prepare("ROLLBACK")).catch(() => {});
    throw error;
  });
  // Nothing was changed: what the server says to it is no concern of the reader's.
  send(COMMIT).catch(() => {});
  return result;
}
