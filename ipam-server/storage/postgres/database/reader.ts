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

/** Time-outs for reads of complete tables. */
const LONG: Partial<Timeouts> = { statementMs: 600_000 };

interface Connection {
  client: pg.Client;
  generation: number;
}

/**
 * A few connections for reads, which never wait for changes, and one for small statements, which never wait for reads:
 * a batch may hold its locks during one, and a flood of lists must not fail a readiness probe.
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

  /** Runs the work in a transaction that sees one state of the database. Retries when the connection is lost. */
  read<T>(work: (send: Send) => Promise<T>): Promise<T> {
    return this.#use(this.#reads, client => inTransaction(client, work), this.#retryForMs);
  }

  /** Runs one statement outside a transaction. It must tolerate running twice, because a lost answer is retried. */
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

  /** As `read`, on a separate connection with long time-outs. */
  async readLong<T>(work: (send: Send) => Promise<T>): Promise<T> {
    const run = async () => {
      if (this.#stopping.signal.aborted) throw new IpamError("unavailable", "the store is closed");
      const client = await this.#primary.connect(LONG, this.#stopping.signal);
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
      // The other idle connections are probably dead too, so do not try them one by one.
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
  // A read changes nothing, so the answer to COMMIT does not matter.
  send(COMMIT).catch(() => {});
  return result;
}
