import type pg from "pg";
import { connect, type Timeouts } from "./connect.ts";
import type { PostgresUrl } from "./postgres-url.ts";

/** Finds the host that accepts writes, and starts with it the next time. */
export class Primary {
  readonly url: PostgresUrl;
  readonly #timeouts: Timeouts;
  #index = 0;
  #generation = 0;

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

  /** Opens a connection. After the signal aborts, pending connects and queries on it fail within CLOSE_TIMEOUT_MS. */
  async connect(timeouts: Partial<Timeouts> = {}, signal?: AbortSignal): Promise<pg.Client> {
    const { client, index } = await connect(this.url, this.#index, { ...this.#timeouts, ...timeouts }, signal);
    if (index !== this.#index) {
      this.#index = index;
      this.#generation++;
    }
    return client;
  }
}
