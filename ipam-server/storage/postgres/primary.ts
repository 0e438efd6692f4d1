import type pg from "pg";
import { connect, type Timeouts } from "./connect.ts";
import type { PostgresUrl } from "./postgres-url.ts";

const GOODBYE_MS = 1000;

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
   * A connection of its own, with time-outs that may differ from the usual. Once the signal aborts, what still waits for an
   * answer on it does not wait for long.
   */
  async connect(timeouts: Partial<Timeouts> = {}, signal?: AbortSignal): Promise<pg.Client> {
    const { client, index } = await connect(this.url, this.#index, { ...this.#timeouts, ...timeouts });
    const cut = () => setTimeout(() => drop(client), GOODBYE_MS).unref();
    if (signal?.aborted) cut();
    signal?.addEventListener("abort", cut);
    client.on("end", () => signal?.removeEventListener("abort", cut));
    if (index !== this.#index) {
      this.#index = index;
      this.#generation++;
    }
    return client;
  }
}

/** Says goodbye, but waits for no answer of a host that is gone. */
export async function close(client: pg.Client): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const late = setTimeout(resolve, GOODBYE_MS);
  await Promise.race([client.end().catch(() => {}), promise]);
  clearTimeout(late);
  drop(client);
}

/** Cuts the connection off at once. */
export function drop(client: pg.Client): void {
  client.connection.stream.destroy();
}
