import type pg from "pg";
import { connect, type Timeouts } from "./connect.ts";
import type { PostgresUrl } from "./postgres-url.ts";

/** Finds the host that takes writes, and remembers it until it fails. */
export class Primary {
  readonly url: PostgresUrl;
  readonly #timeouts: Timeouts;
  #index = 0;
  #generation = 0;

  constructor(url: PostgresUrl, timeouts: Timeouts) {
    this.url = url;
    this.#timeouts = timeouts;
  }

  /** For messages; has no password in it. */
  get name(): string {
    return this.url.name;
  }

  /** Grows when another host took over: connections of an earlier one lead to what may be a standby now. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * A connection of its own, with time-outs that may differ from the usual. Once the signal aborts, what still waits for it, or
   * for an answer on it, does not wait for long.
   */
  async connect(timeouts: Partial<Timeouts> = {}, signal?: AbortSignal): Promise<pg.Client> {
    const { client, index } = await connect(this.url, this.#index, { ...this.#timeouts, ...timeouts }, signal);
    if (index !== this.#index) {
      this.#index = index;
      this.#generation++;
    }
    return client;
  }
}
