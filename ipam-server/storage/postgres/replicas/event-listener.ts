import type pg from "pg";
import { BackgroundLoop, pause } from "../../../process/background-loop.ts";
import { close, drop } from "../database/close-connection.ts";
import type { Primary } from "../database/primary.ts";
import { senderOf } from "../database/statement.ts";
import { EVENTS_CHANNEL, readLastSeq } from "../statements/event-log.ts";

/** How soon a poll makes up for a notification that was lost with its connection. */
const POLL_MS = 5000;
const RECONNECT_MS = 250;

interface EventListenerOptions {
  /** Called with the newest number, and the replica that wrote it if the notification names one. */
  onSeq(lastSeq: number, writer: string | undefined): void;
  pollMs?: number | undefined;
}

/** Follows the commits of all replicas (LISTEN). Polls in addition, and after each reconnection. */
export class EventListener implements AsyncDisposable {
  readonly #primary: Primary;
  readonly #options: EventListenerOptions;
  readonly #loop: BackgroundLoop;
  readonly #ready = Promise.withResolvers<void>();

  constructor(primary: Primary, options: EventListenerOptions) {
    this.#primary = primary;
    this.#options = options;
    this.#loop = new BackgroundLoop({ pass: signal => this.#pass(signal), jitter: 1 });
  }

  /** Resolves after the first attempt to listen. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  async #pass(signal: AbortSignal): Promise<number> {
    try {
      const client = await this.#primary.connect({}, signal);
      try {
        await this.#follow(client, signal);
      } finally {
        if (signal.aborted) await close(client);
        else drop(client);
      }
    } catch {
      // The next round polls for the commits since. The readiness probe reports an unreachable database.
    }
    this.#ready.resolve();
    return RECONNECT_MS;
  }

  async #follow(client: pg.Client, signal: AbortSignal): Promise<void> {
    const lost = new AbortController();
    client.on("end", () => lost.abort());
    client.on("notification", ({ payload = "" }) => {
      const [seq, writer] = payload.split(" ");
      this.#options.onSeq(Number(seq), writer);
    });
    await client.query(`LISTEN ${EVENTS_CHANNEL}`);
    const send = senderOf(client);
    const over = AbortSignal.any([signal, lost.signal]);
    while (!over.aborted) {
      this.#options.onSeq(await readLastSeq(send), undefined);
      this.#ready.resolve();
      await pause(this.#options.pollMs ?? POLL_MS, over);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]();
  }
}
