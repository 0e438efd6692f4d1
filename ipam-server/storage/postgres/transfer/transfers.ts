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
import { loadCatalog } from "../rows/catalog-rows.ts";
import { EVENTS_CHANNEL, readLastSeq } from "../statements/event-log.ts";
import { updatePools } from "../statements/network-writer.ts";
import { PostgresSource } from "./export-rows.ts";
import { PostgresSink } from "./import-rows.ts";

/** Longer than a client may pause while it sends or receives rows, and than a check of all rows takes. */
const LONG: Partial<Timeouts> = { statementMs: 600_000, idleInTransactionMs: 180_000 };

/** SQLite numbers terms by the time, so terms here must be greater than those of the exported store. */
const RAISE_TERM = prepare(
  "UPDATE leadership SET term = greatest(term, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)",
);
const NOTIFY = prepare(`SELECT pg_notify('${EVENTS_CHANNEL}', $1 || ' ' || $2)`);

type Rows = AsyncIterable<TransferRow | TransferEnd>;

/** Exports and imports the database's content, each on a separate connection. */
export class Transfers implements Disposable {
  readonly gate = new TransferGate();
  readonly #primary: Primary;
  readonly #options: WriterOptions;
  readonly #writerId: string;
  readonly #stopping = new AbortController();

  /** @param writerId the replica that notifications name */
  constructor(primary: Primary, options: Pick<WriterOptions, "clock" | "retryForMs" | "failpoint">, writerId: string) {
    this.#primary = primary;
    this.#options = { ...options, timeouts: LONG };
    this.#writerId = writerId;
  }

  async *exportRows(): AsyncGenerator<TransferRow> {
    using _slot = this.gate.beginCopy();
    const { name } = this.#primary;
    const { signal } = this.#stopping;
    const connect = () => this.#primary.connect(LONG);
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
   * Holds the catalog lock, so that no other replica decides; afterwards their caches are outdated by revision. Rows can
   * only be read once, so it rejects instead of retrying as soon as the first was requested.
   */
  async importRows(rows: Rows): Promise<{ response: ImportResponse; lastSeq: number }> {
    using _slot = this.gate.beginImport();
    const source = new Source(rows);
    await using writer = new Writer(this.#primary, this.#options);
    try {
      const { result } = await writer.transact("change", async send => {
        if (source.isStarted) throw this.#importFailed("the connection was lost before the commit");
        try {
          const response = await importStore(source.rows(), new PostgresSink(send));
          await updatePools(send, (await loadCatalog(send)).catalog);
          const lastSeq = await readLastSeq(send);
          const writes = [
            { statement: RAISE_TERM, values: [] },
            { statement: NOTIFY, values: [String(lastSeq), this.#writerId] },
          ];
          return { writes, result: { response, lastSeq } };
        } catch (error) {
          if (!source.isStarted || error instanceof IpamError) throw error;
          throw this.#importFailed(toIpamError(error, this.#primary.name).message);
        }
      });
      return result;
    } catch (error) {
      throw source.failure ?? error;
    }
  }

  /** Ends running exports. */
  [Symbol.dispose](): void {
    this.#stopping.abort();
  }

  #importFailed(why: string): IpamError {
    return new IpamError("unavailable", `${why}; nothing was imported`);
  }
}

/** Separates failures of the rows' sender from failures of the database. */
class Source {
  readonly #rows: Rows;
  isStarted = false;
  failure: unknown;

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  async *rows(): AsyncGenerator<TransferRow | TransferEnd> {
    this.isStarted = true;
    try {
      yield* this.#rows;
    } catch (error) {
      this.failure = error;
      throw new IpamError("invalid_request", "the rows broke off");
    }
  }
}
