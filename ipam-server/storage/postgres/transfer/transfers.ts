import { type ImportResponse, IpamError, type TransferEnd } from "../../../contract/index.ts";
import { exportStore } from "../../../domain/transfer/export-store.ts";
import { importStore } from "../../../domain/transfer/import-store.ts";
import type { TransferRow } from "../../../domain/transfer/transfer.ts";
import { TransferGate } from "../../../domain/transfer/transfer-gate.ts";
import { close, drop } from "../database/close-connection.ts";
import type { Timeouts } from "../database/connect.ts";
import { toIpamError } from "../database/errors.ts";
import type { Primary } from "../database/primary.ts";
import { BEGIN_READ } from "../database/reader.ts";
import { retry } from "../database/retry.ts";
import { prepare, senderOf } from "../database/statement.ts";
import { Writer, type WriterOptions } from "../database/writer.ts";
import { EVENTS_CHANNEL, readLastSeq } from "../statements/event-log.ts";
import { PostgresSource } from "./export-rows.ts";
import { PostgresSink } from "./import-rows.ts";

/** Longer than whoever sends or takes the rows may stand still, and than counting all of them takes. */
const PATIENT: Partial<Timeouts> = { statementMs: 600_000, idleInTransactionMs: 180_000 };

/** On SQLite terms are numbered by the time: who was asked by a leader there must find none earlier here. */
const RAISE_TERM = prepare(
  "UPDATE leadership SET term = greatest(term, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)",
);
const NOTIFY = prepare(`SELECT pg_notify('${EVENTS_CHANNEL}', $1 || ' ' || $2)`);

type Rows = AsyncIterable<TransferRow | TransferEnd>;

/** Takes the database's content out and in, each on a connection of its own. */
export class Transfers implements Disposable {
  readonly gate = new TransferGate();
  readonly #primary: Primary;
  readonly #options: WriterOptions;
  readonly #writerId: string;
  readonly #stopping = new AbortController();

  /** @param writerId what this replica signs its events with */
  constructor(primary: Primary, options: Pick<WriterOptions, "clock" | "retryForMs" | "failpoint">, writerId: string) {
    this.#primary = primary;
    this.#options = { ...options, timeouts: PATIENT };
    this.#writerId = writerId;
  }

  async *exportRows(): AsyncGenerator<TransferRow> {
    using _turn = this.gate.beginCopy();
    const { name } = this.#primary;
    const { signal } = this.#stopping;
    const connect = () => this.#primary.connect(PATIENT);
    const client = await retry(connect, { durationMs: this.#options.retryForMs, name, signal });
    const cut = () => drop(client);
    signal.addEventListener("abort", cut);
    try {
      const send = senderOf(client);
      await send(BEGIN_READ);
      yield* exportStore(new PostgresSource(send));
    } catch (error) {
      throw signal.aborted ? new IpamError("unavailable", "the store is closed") : toIpamError(error, name);
    } finally {
      signal.removeEventListener("abort", cut);
      await close(client);
    }
  }

  /**
   * While it holds the lock on the catalog other replicas decide nothing; what they know of the database is of a revision
   * before. Rows cannot be asked for twice: once the first was, what fails is told, not tried again.
   */
  async importRows(rows: Rows): Promise<{ response: ImportResponse; lastSeq: number }> {
    using _turn = this.gate.beginImport();
    const source = new Source(rows);
    await using writer = new Writer(this.#primary, this.#options);
    try {
      const { result } = await writer.transact("change", async send => {
        if (source.asked) throw this.#brokenOff("the connection was lost before the commit");
        try {
          const response = await importStore(source.rows(), new PostgresSink(send));
          const lastSeq = await readLastSeq(send);
          const writes = [
            { statement: RAISE_TERM, values: [] },
            { statement: NOTIFY, values: [String(lastSeq), this.#writerId] },
          ];
          return { writes, result: { response, lastSeq } };
        } catch (error) {
          if (!source.asked || error instanceof IpamError) throw error;
          throw this.#brokenOff(toIpamError(error, this.#primary.name).message);
        }
      });
      return result;
    } catch (error) {
      throw source.failure ?? error;
    }
  }

  /** Exports end. */
  [Symbol.dispose](): void {
    this.#stopping.abort();
  }

  #brokenOff(why: string): IpamError {
    return new IpamError("unavailable", `${why}; nothing was imported`);
  }
}

/** Rows that another may fail to give: that is no failure of the database's. */
class Source {
  readonly #rows: Rows;
  asked = false;
  failure: unknown;

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  async *rows(): AsyncGenerator<TransferRow | TransferEnd> {
    this.asked = true;
    try {
      yield* this.#rows;
    } catch (error) {
      this.failure = error;
      throw new IpamError("invalid_request", "the rows broke off");
    }
  }
}
