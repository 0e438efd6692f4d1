import type pg from "pg";
import { type RecordedHistory, verifyHistory } from "../history/database-history.ts";
import { connect, type Timeouts, type Verify } from "./connect.ts";
import type { PostgresUrl } from "./postgres-url.ts";

/** Finds the host that accepts writes, and starts with it the next time. */
export class Primary {
  readonly url: PostgresUrl;
  readonly #timeouts: Timeouts;
  #index = 0;
  #generation = 0;
  #verify: Verify | undefined;

  constructor(url: PostgresUrl, timeouts: Timeouts) {
    this.url = url;
    this.#timeouts = timeouts;
  }

  /** Hosts and database for messages, without a password. */
  get name(): string {
    return this.url.name;
  }

  /** Grows when another host becomes the primary: connections of an earlier generation may lead to a standby. */
  get generation(): number {
    return this.#generation;
  }

  /** From now on connects only to the history of the database that `client` leads to, and to later ones. */
  async startVerifying(client: pg.Client, onPromotion: (message: string) => void): Promise<void> {
    let known: RecordedHistory | undefined;
    this.#verify = async (connected, name) => {
      known = await verifyHistory(connected, { known, name, onPromotion });
    };
    await this.#verify(client, this.name);
  }

  /** Opens a connection. After the signal aborts, pending connects and queries on it fail within CLOSE_TIMEOUT_MS. */
  async connect(timeouts: Partial<Timeouts> = {}, signal?: AbortSignal): Promise<pg.Client> {
    const merged = { ...this.#timeouts, ...timeouts };
    const { client, index } = await connect(this.url, this.#index, merged, signal, this.#verify);
    if (index !== this.#index) {
      this.#index = index;
      this.#generation++;
    }
    return client;
  }
}
